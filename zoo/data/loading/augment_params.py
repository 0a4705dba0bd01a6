"""What varies from photo to photo: drawn on the CPU, for a whole step at once, and the same on every device."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.data.images.decode import centre_window

if TYPE_CHECKING:
    from zoo.config import FinetuneConfig
    from zoo.preprocess import Preprocess

_RATIO = (3 / 4, 4 / 3)  # aspect of a random crop, as in Szegedy et al. 2014 and torchvision
_TRIES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How training photos are varied; the fields are those of `FinetuneConfig`."""

    crop_scale: float = 1.0
    hflip: float = 0.0
    vflip: float = 0.0
    rotation: float = 0.0
    shear: float = 0.0
    color_jitter: float = 0.0
    randaugment: int = 0

    @classmethod
    def from_config(cls, config: FinetuneConfig) -> Augmentation:
        """Returns the augmentation that a configuration asks for."""
        return cls(**{field.name: getattr(config, field.name) for field in dataclasses.fields(cls)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """What was drawn for N photos; all on the CPU. ``draws[2:5]`` is what was drawn for three of them.

    Of a photo, `box` is cut out, resized to `resized`, and then seen through a window of the network's input size
    whose upper left corner lies at `corner` (negative where the photo is smaller than the window).

    Attributes:
        box: int64 ``(N, 4)``: top, left, height, width, in pixels of the photo.
        resized: int64 ``(N, 2)``: height and width of the box once it is resized.
        corner: int64 ``(N, 2)``: row and column in the resized box.
        hflip: bool ``(N,)``.
        vflip: bool ``(N,)``.
        turn: float32 ``(N,)``, radians.
        shear: float32 ``(N,)``, radians.
        colour: float32 ``(N, 3)``: factors of brightness, contrast and saturation.
        seed: int64 ``(N,)``: of what draws on its own, RandAugment.
    """

    box: Tensor
    resized: Tensor
    corner: Tensor
    hflip: Tensor
    vflip: Tensor
    turn: Tensor
    shear: Tensor
    colour: Tensor
    seed: Tensor

    def __len__(self) -> int:
        return len(self.box)

    def __getitem__(self, which: slice | Tensor) -> Draws:
        return Draws(**{field.name: getattr(self, field.name)[which] for field in dataclasses.fields(self)})


def draw(sizes: Tensor, spec: Preprocess, how: Augmentation, generator: torch.Generator) -> Draws:
    """Draws how photos are varied.

    Args:
        sizes: int64 ``(N, 2)`` on the CPU: height and width of each photo.
        spec: The network's preprocessing.
        how: What to vary.
        generator: On the CPU; nothing else decides the draws.
    """
    count = len(sizes)
    plain = undrawn(sizes, spec)
    box, resized, corner = plain.box, plain.resized, plain.corner
    if how.crop_scale < 1:
        box = random_boxes(sizes, how.crop_scale, generator)
        resized, corner = torch.tensor(spec.size).expand(count, 2), torch.zeros(count, 2, dtype=torch.int64)
    hflip = torch.rand(count, generator=generator) < how.hflip
    vflip = torch.rand(count, generator=generator) < how.vflip
    turn, shear = (
        torch.deg2rad(torch.empty(count).uniform_(-most, most, generator=generator)) if most else torch.zeros(count)
        for most in (how.rotation, how.shear)
    )
    jitter = how.color_jitter
    return Draws(
        box=box,
        resized=resized,
        corner=corner,
        hflip=hflip,
        vflip=vflip,
        turn=turn,
        shear=shear,
        colour=torch.empty(count, 3).uniform_(1 - jitter, 1 + jitter, generator=generator) if jitter else plain.colour,
        seed=torch.randint(2**31, (count,), generator=generator) if how.randaugment else plain.seed,
    )


def undrawn(sizes: Tensor, spec: Preprocess, *, flipped: bool = False) -> Draws:
    """Returns the draws that show each photo as evaluation sees it, mirrored if `flipped`; `sizes` as in `draw`."""
    count = len(sizes)
    windows = [centre_window(size, spec) for size in sizes.tolist()]
    box, resized, corner = (torch.tensor(each).view(count, -1) for each in zip(*windows, strict=True))
    return Draws(
        box=box,
        resized=resized,
        corner=corner,
        hflip=torch.full((count,), flipped),
        vflip=torch.zeros(count, dtype=torch.bool),
        turn=torch.zeros(count),
        shear=torch.zeros(count),
        colour=torch.ones(count, 3),
        seed=torch.zeros(count, dtype=torch.int64),
    )


def random_boxes(sizes: Tensor, smallest: float, generator: torch.Generator) -> Tensor:
    """Draws the boxes of torchvision's `RandomResizedCrop`: area, then aspect, ten tries, else a centre crop.

    Args:
        sizes: int64 ``(N, 2)``: height and width of each photo.
        smallest: Smallest share of the area; the largest is 1.
        generator: Where the draws come from.

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
