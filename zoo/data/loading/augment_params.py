"""Random parameters of views of photos: drawn on the CPU for a whole step at once, and equal on every device."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from zoo.data.images.resize import centre_window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.config import FinetuneConfig
    from zoo.data.loading.augmenters import Augmenter
    from zoo.preprocess import Preprocess

_RATIO = (3 / 4, 4 / 3)  # aspect of a random crop, as in Szegedy et al. 2014 and torchvision
_TRIES = 10
_HFLIP = 0.5  # the probability for hflip="auto", unless a probe decides otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class CropPolicy:
    """What training reads of a photo, and whether it mirrors it; the fields are those of `FinetuneConfig`."""

    crop_scale: float = 1.0
    hflip: float = 0.0
    vflip: float = 0.0

    @classmethod
    def from_config(cls, config: FinetuneConfig) -> CropPolicy:
        """Returns the policy of a configuration."""
        values = {field.name: getattr(config, field.name) for field in dataclasses.fields(cls)}
        if values["hflip"] == "auto":
            values["hflip"] = _HFLIP
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentParams:
    """The parameters drawn for N photos, on the CPU. ``params[2:5]`` are those of three of them.

    A photo is cropped to `box`, resized to `resized`, and then seen through a window of the network's input size. The
    upper left corner of the window is at `corner`, negative where the photo is smaller than the window.

    Attributes:
        box: int64 ``(N, 4)``: top, left, height, width, in pixels of the photo.
        resized: int64 ``(N, 2)``: height and width of the box after the resize.
        corner: int64 ``(N, 2)``: row and column in the resized box.
        hflip: bool ``(N,)``.
        vflip: bool ``(N,)``.
        numbers: What each augmentation drew, ``(N, ...)``.
    """

    box: Tensor
    resized: Tensor
    corner: Tensor
    hflip: Tensor
    vflip: Tensor
    numbers: tuple[Tensor, ...] = ()

    def __len__(self) -> int:
        return len(self.box)

    def __getitem__(self, which: slice | Tensor) -> AugmentParams:
        return AugmentParams(
            box=self.box[which],
            resized=self.resized[which],
            corner=self.corner[which],
            hflip=self.hflip[which],
            vflip=self.vflip[which],
            numbers=tuple(each[which] for each in self.numbers),
        )


def draw_params(
    sizes: Tensor,
    spec: Preprocess,
    crops: CropPolicy,
    generator: torch.Generator,
    augmenters: Sequence[Augmenter] = (),
) -> AugmentParams:
    """Draws the parameters of photos.

    Args:
        sizes: int64 ``(N, 2)`` on the CPU: height and width of each photo.
        spec: The network's preprocessing.
        crops: How to crop and flip.
        generator: On the CPU; the only source of randomness.
        augmenters: What is done to the images afterwards, in this order.
    """
    count = len(sizes)
    plain = centre_params(sizes, spec)
    box, resized, corner = plain.box, plain.resized, plain.corner
    if crops.crop_scale < 1:
        box = draw_boxes(sizes, crops.crop_scale, generator)
        resized, corner = torch.tensor(spec.size).expand(count, 2), torch.zeros(count, 2, dtype=torch.int64)
    return AugmentParams(
        box=box,
        resized=resized,
        corner=corner,
        hflip=torch.rand(count, generator=generator) < crops.hflip,
        vflip=torch.rand(count, generator=generator) < crops.vflip,
        numbers=tuple(augmenter.draw(count, generator) for augmenter in augmenters),
    )


def centre_params(sizes: Tensor, spec: Preprocess) -> AugmentParams:
    """Returns the parameters that show each photo as evaluation does.

    Args:
        sizes: As in `draw_params`.
        spec: The network's preprocessing.
    """
    count = len(sizes)
    windows = [centre_window(size, spec) for size in sizes.tolist()]
    box, resized, corner = (torch.tensor(each).view(count, -1) for each in zip(*windows, strict=True))
    return AugmentParams(
        box=box,
        resized=resized,
        corner=corner,
        hflip=torch.zeros(count, dtype=torch.bool),
        vflip=torch.zeros(count, dtype=torch.bool),
    )


def draw_boxes(sizes: Tensor, smallest: float, generator: torch.Generator) -> Tensor:
    """Draws the boxes of torchvision's `RandomResizedCrop`: area, then aspect; a centre crop after ten failed tries.

    Args:
        sizes: int64 ``(N, 2)``: height and width of each photo.
        smallest: Smallest share of the area; the largest is 1.
        generator: The source of randomness.

    Returns:
        int64 ``(N, 4)``: top, left, height, width.
    """
    height, width = sizes[:, :1].float(), sizes[:, 1:].float()
    area = height * width * torch.empty(len(sizes), _TRIES).uniform_(smallest, 1, generator=generator)
    low, high = map(math.log, _RATIO)
    aspect = torch.empty(len(sizes), _TRIES).uniform_(low, high, generator=generator).exp()
    w, h = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = fits.int().argmax(dim=1, keepdim=True)
    fallback_w = torch.minimum(width, (height * _RATIO[1]).round())
    fallback_h = torch.minimum(height, (width / _RATIO[0]).round())
    any_fits = fits.any(dim=1, keepdim=True)
    w = torch.where(any_fits, w.gather(1, first), fallback_w).squeeze(1)
    h = torch.where(any_fits, h.gather(1, first), fallback_h).squeeze(1)
    place = torch.rand(2, len(sizes), generator=generator)
    free_y, free_x = sizes[:, 0] - h, sizes[:, 1] - w
    centred = ~any_fits.squeeze(1)
    top = torch.where(centred, (free_y / 2).floor(), (place[0] * (free_y + 1)).floor())
    left = torch.where(centred, (free_x / 2).floor(), (place[1] * (free_x + 1)).floor())
    return torch.stack([top, left, h, w], dim=1).long()


def make_generator(seed: int, *path: int) -> torch.Generator:
    """Returns a generator that depends only on the seed and a path of numbers, such as epoch and step."""
    # A spawn key distinguishes (1,) from (1, 0), which entropy would not: the order of an epoch and the augmentation
    # of a batch must not share their numbers.
    state = np.random.SeedSequence(seed, spawn_key=path).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 ^ int(state[1]))
