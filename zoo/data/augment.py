"""Augments photos in batches, on the device: each image has its own draws, and every draw comes from one generator.

A crop, its antialiased resize and its flip are two small matrices an image (rows and columns are separable), so a
whole batch is two batched matrix products. The distribution is that of torchvision's reference transforms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from zoo.config import FinetuneConfig
    from zoo.specs import Preprocess

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
        return cls(
            crop_scale=config.crop_scale,
            hflip=config.hflip,
            vflip=config.vflip,
            rotation=config.rotation,
            shear=config.shear,
            color_jitter=config.color_jitter,
            randaugment=config.randaugment,
        )


class Boxes(NamedTuple):
    """What is cut out of each photo, in pixels of that photo; each ``(N,)`` float32."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


def augment(photos: Tensor, sizes: Tensor, spec: Preprocess, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Returns augmented images ``(N, 3, h, w)`` float32 from 0 to 255, of `spec.size`.

    Args:
        photos: uint8 ``(N, 3, H, W)``, each padded at the bottom and right to the largest.
        sizes: int64 ``(N, 2)`` on the CPU: true height and width of each photo.
        spec: The network's preprocessing.
        how: What to vary.
        generator: On the CPU, so that the draws are the same on every device.
    """
    boxes = random_boxes(sizes, how.crop_scale, generator) if how.crop_scale < 1 else centre_boxes(sizes, spec)
    count = len(sizes)
    hflip = torch.rand(count, generator=generator) < how.hflip
    vflip = torch.rand(count, generator=generator) < how.vflip
    images = cut(photos, sizes, boxes, spec, hflip=hflip, vflip=vflip)
    if how.rotation or how.shear:
        images = _affine(images, spec, how, generator)
    if how.color_jitter:
        images = _jitter(images, how.color_jitter, generator)
    if how.randaugment:
        images = _randaugment(images, spec, how.randaugment, generator)
    return images


def normalise(images: Tensor, spec: Preprocess) -> Tensor:
    """Returns ``(x / 255 - mean) / std`` of images ``(N, 3, h, w)`` from 0 to 255, float32, channels-last."""
    mean = torch.tensor(spec.mean, device=images.device).view(1, 3, 1, 1) * 255
    std = torch.tensor(spec.std, device=images.device).view(1, 3, 1, 1) * 255
    return ((images.float() - mean) / std).contiguous(memory_format=torch.channels_last)


def random_boxes(sizes: Tensor, smallest: float, generator: torch.Generator) -> Boxes:
    """Draws the boxes of torchvision's `RandomResizedCrop`: area, then aspect, ten tries, else a centre crop.

    Args:
        sizes: int64 ``(N, 2)``: height and width of each photo.
        smallest: Smallest share of the area; the largest is 1.
        generator: Where the draws come from.
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
    return Boxes(top=top, left=left, height=h, width=w)


def centre_boxes(sizes: Tensor, spec: Preprocess) -> Boxes:
    """Returns the boxes that evaluation looks at: what `spec` keeps of each photo, in the photo's own pixels."""
    height, width = sizes[:, 0].float(), sizes[:, 1].float()
    if spec.resize_mode == "squash":
        h, w = height, width
    else:
        side = torch.minimum(height, width) if spec.resize_mode == "shorter" else torch.maximum(height, width)
        h, w = side * spec.size[0] / spec.resize, side * spec.size[1] / spec.resize
    return Boxes(top=(height - h) / 2, left=(width - w) / 2, height=h, width=w)


def cut(photos: Tensor, sizes: Tensor, boxes: Boxes, spec: Preprocess, *, hflip: Tensor, vflip: Tensor) -> Tensor:
    """Cuts a box out of each photo and resizes it, antialiased and bilinear, to `spec.size`, flipped where asked.

    What a box covers beyond its photo takes the mean colour.

    Returns:
        float32 ``(N, 3, h, w)``, from 0 to 255, on the device of `photos`.
    """
    rows = _resize_matrix(boxes.top, boxes.height, sizes[:, 0], photos.shape[2], spec.size[0], vflip)
    columns = _resize_matrix(boxes.left, boxes.width, sizes[:, 1], photos.shape[3], spec.size[1], hflip)
    rows, columns = (matrix.to(photos.device, non_blocking=True) for matrix in (rows, columns))
    images = rows[:, None] @ photos.float() @ columns.transpose(1, 2)[:, None]
    inside = rows.sum(dim=2)[:, None, :, None] * columns.sum(dim=2)[:, None, None, :]
    mean = torch.tensor(spec.mean, device=photos.device).view(1, 3, 1, 1) * 255
    return images + mean * (1 - inside)


def _resize_matrix(start: Tensor, length: Tensor, limit: Tensor, source: int, target: int, flip: Tensor) -> Tensor:
    """Returns ``(N, target, source)``: row i holds the weights of the source pixels that make target pixel i.

    The triangle filter of Pillow and of torch's antialiased bilinear resize, kept within the box and the photo.
    """
    start, length, limit = (t.float().view(-1, 1, 1) for t in (start, length, limit))
    index = torch.arange(target).view(1, -1, 1)
    index = torch.where(flip.view(-1, 1, 1), target - 1 - index, index)
    scale = length / target
    centre = start + (index + 0.5) * scale
    pixel = torch.arange(source).view(1, 1, -1) + 0.5
    weights = (1 - (pixel - centre).abs() / scale.clamp(min=1)).clamp(min=0)
    # A crop is made before a resize: no pixel beyond the box bleeds into it.
    weights = weights * ((pixel > start.clamp(min=0)) & (pixel < torch.minimum(start + length, limit)))
    weights = weights * ((centre > 0) & (centre < limit))  # padding begins where the photo ends
    return weights / weights.sum(dim=2, keepdim=True).clamp(min=1e-6)


def _affine(images: Tensor, spec: Preprocess, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Rotates and shears each image about its centre, as torchvision's RandomAffine; beyond it is the mean colour."""
    count, _, height, width = images.shape
    turn, shear = (
        torch.deg2rad(torch.empty(count).uniform_(-most, most, generator=generator)) if most else torch.zeros(count)
        for most in (how.rotation, how.shear)
    )
    aspect = width / height  # grid coordinates run from -1 to 1 on both axes, pixels do not
    tilt = torch.tan(shear)
    cos, sin = turn.cos(), turn.sin()
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = cos + tilt * sin, (tilt * cos - sin) / aspect
    theta[:, 1, 0], theta[:, 1, 1] = sin * aspect, cos
    grid = F.affine_grid(theta.to(images.device), list(images.shape), align_corners=False)
    mean = torch.tensor(spec.mean, device=images.device).view(1, 3, 1, 1) * 255
    return F.grid_sample(images - mean, grid, mode="bilinear", align_corners=False) + mean


def _jitter(images: Tensor, most: float, generator: torch.Generator) -> Tensor:
    """Varies brightness, contrast and saturation by factors within 1 +- `most`, as torchvision's ColorJitter."""
    factors = torch.empty(3, len(images), 1, 1, 1).uniform_(1 - most, 1 + most, generator=generator).to(images.device)
    luma = torch.tensor([0.299, 0.587, 0.114], device=images.device).view(1, 3, 1, 1)
    images = (images * factors[0]).clamp(0, 255)
    grey_mean = (images * luma).sum(dim=1, keepdim=True).mean(dim=(2, 3), keepdim=True)
    images = (grey_mean + (images - grey_mean) * factors[1]).clamp(0, 255)
    grey = (images * luma).sum(dim=1, keepdim=True)
    return (grey + (images - grey) * factors[2]).clamp(0, 255)


def _randaugment(images: Tensor, spec: Preprocess, magnitude: int, generator: torch.Generator) -> Tensor:
    """Applies torchvision's RandAugment (Cubuk et al. 2019) to each image: two operations of `magnitude` of 30."""
    from torchvision.transforms import v2

    fill = [round(255 * channel) for channel in spec.mean]
    operation = v2.RandAugment(num_ops=2, magnitude=magnitude, fill=fill)
    seed = int(torch.randint(2**31, (), generator=generator))
    with torch.random.fork_rng(devices=[]):  # torchvision draws from torch's global generator
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the devices' generators as well
        return torch.stack([operation(image) for image in images.round().to(torch.uint8)]).float()
