"""Applies what was drawn to photos, in two forms that agree to a level: an image at a time, or a whole batch.

`cut` is for photos in the memory of the CPU: each crop is resized on its own (`zoo.data.images.resize`). `cut_batch` is for
photos on a GPU: a crop, its antialiased resize and its flip are two small matrices (rows and columns are separable), so
a batch is two batched matrix products. The distribution is that of torchvision's reference transforms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.data.images.decode import fill_colour
from zoo.data.images.resize import resize
from zoo.data.loading.transfer import to_device

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from zoo.data.loading.augment_params import Augmentation, Draws
    from zoo.preprocess import Preprocess


def cut(photos: Iterable[NDArray[np.uint8]], draws: Draws, spec: Preprocess) -> NDArray[np.uint8]:
    """Cuts a box out of each photo and resizes it, antialiased and bilinear, to `spec.size`, flipped where drawn.

    What the window covers beyond its photo takes the mean colour. Safe to call from several threads at once.

    Args:
        photos: uint8 ``(H, W, 3)`` each; one is held at a time.
        draws: As many.
        spec: The network's preprocessing.

    Returns:
        uint8 ``(N, h, w, 3)``.
    """
    images = np.empty((len(draws), *spec.size, 3), np.uint8)
    lists = (each.tolist() for each in (draws.box, draws.resized, draws.corner, draws.hflip, draws.vflip))
    for image, photo, box, resized, corner, hflip, vflip in zip(images, photos, *lists, strict=True):
        target = image[:: -1 if vflip else 1, :: -1 if hflip else 1]
        _show(_resize(photo, box, resized), corner, target, fill_colour(spec))
    return images


def _resize(photo: NDArray[np.uint8], box: list[int], size: list[int]) -> NDArray[np.uint8]:
    top, left, height, width = box
    crop = photo[top : top + height, left : left + width]
    return crop if [height, width] == size else resize(crop, size)


def _show(resized: NDArray[np.uint8], corner: list[int], target: NDArray[np.uint8], fill: tuple[int, ...]) -> None:
    """Writes the window of `resized` that begins at `corner` to `target`; `fill` is what lies beyond."""
    if resized.shape == target.shape:
        target[:] = resized
        return
    (row, column), (height, width) = corner, target.shape[:2]
    shown = resized[max(0, row) : row + height, max(0, column) : column + width]
    if shown.shape != target.shape:
        target[:] = fill
    target[max(0, -row) :, max(0, -column) :][: shown.shape[0], : shown.shape[1]] = shown


def cut_batch(pixels: Tensor, starts: Tensor, widths: Tensor, draws: Draws, spec: Preprocess) -> Tensor:
    """Does what `cut` does for a whole batch on its device.

    Args:
        pixels: uint8 ``(P, 3)``: photos, one after the other, on any device.
        starts: int64 ``(N,)`` on the CPU: where each of the photos that are asked for begins.
        widths: int64 ``(N,)`` on the CPU: of those photos.
        draws: As many.
        spec: The network's preprocessing.

    Returns:
        uint8 ``(N, 3, h, w)``, on the device of `pixels`.
    """
    others = torch.stack([starts, widths, draws.vflip.long(), draws.hflip.long()], dim=1)
    numbers = torch.cat([draws.box, draws.resized, draws.corner, others], dim=1)
    # One copy to the device for all of them.
    moved = to_device(numbers, pixels.device).T.unsqueeze(2).unbind()
    top, left, height, width, rows, columns, row, column, start, photo_width, vflip, hflip = moved
    most_rows, most_columns = draws.box[:, 2:].amax(dim=0).tolist()
    # A box that is smaller than the largest goes on with its last row and column, which weigh nothing.
    y = top + torch.arange(most_rows, device=pixels.device).minimum(height - 1)
    x = left + torch.arange(most_columns, device=pixels.device).minimum(width - 1)
    boxes = pixels[(start + y * photo_width)[:, :, None] + x[:, None, :]].permute(0, 3, 1, 2)
    row_weights, row_inside = _resize_matrix(height, rows, row, most_rows, spec.size[0], vflip)
    column_weights, column_inside = _resize_matrix(width, columns, column, most_columns, spec.size[1], hflip)
    images = row_weights[:, None] @ boxes.float() @ column_weights.transpose(1, 2)[:, None]
    inside = row_inside[:, None, :, None] & column_inside[:, None, None, :]
    fill = to_device(torch.tensor(fill_colour(spec), dtype=torch.uint8), pixels.device).view(1, 3, 1, 1)
    return torch.where(inside, images.round_().clamp_(0, 255).to(torch.uint8), fill)


def _resize_matrix(
    length: Tensor, resized: Tensor, corner: Tensor, source: int, target: int, flip: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns weights ``(N, target, source)``, row i for target pixel i, and bool ``(N, target)``: is it in the photo.

    The weights are the triangle filter of Pillow and of torch's antialiased bilinear resize, kept within the box.
    All tensors are ``(N, 1)``.
    """
    index = torch.arange(target, device=length.device)
    index = torch.where(flip.bool(), target - 1 - index, index) + corner
    inside = (index >= 0) & (index < resized)
    scale = (length / resized)[:, :, None]
    pixel = torch.arange(source, device=length.device) + 0.5
    distance = pixel - (index[:, :, None] + 0.5) * scale
    weights = (1 - distance.abs_() / scale.clamp(min=1)).clamp_(min=0) * (pixel < length)[:, None]
    return weights / weights.sum(dim=2, keepdim=True).clamp_(min=1e-6), inside


def vary(images: Tensor, draws: Draws, spec: Preprocess, how: Augmentation) -> Tensor:
    """Turns, shears and recolours images as drawn.

    Args:
        images: uint8 ``(N, 3, h, w)``.
        draws: As many, on any device.
        spec: The network's preprocessing.
        how: What to vary; the magnitude of RandAugment.

    Returns:
        uint8 or, where something varied, float32 from 0 to 255; ``(N, 3, h, w)``.
    """
    if how.rotation or how.shear:
        images = _affine(images.float(), draws, spec)
    if how.color_jitter:
        images = _jitter(images.float(), draws.colour)
    if how.randaugment:
        images = _randaugment(images, draws.seed, spec, how.randaugment)
    return images


def normalise(images: Tensor, spec: Preprocess) -> Tensor:
    """Returns ``(x / 255 - mean) / std`` of images ``(N, 3, h, w)`` from 0 to 255: float32, channels-last, new."""
    count, channels, height, width = images.shape
    pixels = images.permute(0, 2, 3, 1).to(torch.float32, memory_format=torch.contiguous_format, copy=True)
    # In place, and by whole rows: a row of 3 values is too short for vectors, one of 3 w values is not.
    rows = pixels.view(count, height, width * channels)
    for change, values in ((rows.sub_, spec.mean), (rows.div_, spec.std)):
        change(to_device(torch.tensor(values).mul_(255).repeat(width), images.device))
    return pixels.permute(0, 3, 1, 2)


def _affine(images: Tensor, draws: Draws, spec: Preprocess) -> Tensor:
    """Rotates and shears each image about its centre, as torchvision's RandomAffine; beyond it is the mean colour."""
    count, _, height, width = images.shape
    aspect = width / height  # grid coordinates run from -1 to 1 on both axes, pixels do not
    tilt, cos, sin = torch.tan(draws.shear), draws.turn.cos(), draws.turn.sin()
    theta = torch.zeros(count, 2, 3, device=cos.device)
    theta[:, 0, 0], theta[:, 0, 1] = cos + tilt * sin, (tilt * cos - sin) / aspect
    theta[:, 1, 0], theta[:, 1, 1] = sin * aspect, cos
    grid = F.affine_grid(to_device(theta, images.device), list(images.shape), align_corners=False)
    mean = to_device(torch.tensor(spec.mean) * 255, images.device).view(1, 3, 1, 1)
    return F.grid_sample(images - mean, grid, mode="bilinear", align_corners=False) + mean


def _jitter(images: Tensor, factors: Tensor) -> Tensor:
    """Varies brightness, contrast and saturation by `factors` ``(N, 3)``, as torchvision's ColorJitter."""
    brightness, contrast, saturation = to_device(factors, images.device).T[:, :, None, None, None]
    luma = to_device(torch.tensor([0.299, 0.587, 0.114]), images.device).view(1, 3, 1, 1)
    images = (images * brightness).clamp(0, 255)
    grey_mean = (images * luma).sum(dim=1, keepdim=True).mean(dim=(2, 3), keepdim=True)
    images = (grey_mean + (images - grey_mean) * contrast).clamp(0, 255)
    grey = (images * luma).sum(dim=1, keepdim=True)
    coloured: Tensor = grey + (images - grey) * saturation
    return coloured.clamp_(0, 255)


def _randaugment(images: Tensor, seeds: Tensor, spec: Preprocess, magnitude: int) -> Tensor:
    """Applies torchvision's RandAugment (Cubuk et al. 2019) to each image: two operations of `magnitude` of 30."""
    from torchvision.transforms import v2

    operation = v2.RandAugment(num_ops=2, magnitude=magnitude, fill=list(fill_colour(spec)))
    made = []
    with torch.random.fork_rng(devices=[]):  # torchvision draws from torch's global generator
        for image, seed in zip(images.round().to(torch.uint8), seeds.tolist(), strict=True):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the devices' generators as well
            made.append(operation(image))
    return torch.stack(made)
