"""Crops, resizes, flips and augments photos: one photo at a time on the CPU, or a whole batch on its device.

`crop_photos` resizes each crop on its own (`zoo.data.loading.transform.resize`). `crop_batch` is for photos in GPU
memory: a crop, its antialiased resize and its flip are separable into rows and columns, so a batch takes two batched
matrix products. Both agree within one level. The distribution is that of torchvision's reference transforms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from zoo.data.images.decode import decode
from zoo.data.images.resize import fill_colour
from zoo.data.loading.augment_params import draw_params, make_generator
from zoo.data.loading.augmenters import to_uint8
from zoo.data.loading.pipeline import to_device
from zoo.data.loading.transform import resize, shrink_for_crops
from zoo.data.targets import make_targets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from zoo.data.loading.augment_params import AugmentParams, CropPolicy
    from zoo.data.loading.augmenters import Augmenter, Mixer
    from zoo.plugins.specs import Sample
    from zoo.preprocess import Preprocess


def augmented_views(
    spec: Preprocess,
    crops: CropPolicy,
    *,
    augmenters: Sequence[Augmenter] = (),
    mixers: Sequence[Mixer] = (),
    classes: int = 0,
    count: int = 5,
    seed: int = 0,
) -> Callable[[Sequence[tuple[int, Sample]]], list[list[NDArray[np.uint8]]]]:
    """Returns a function that makes `count` augmented views of each of some photos; see `zoo.report.sheets`.

    It takes pairs of the index of a photo, which decides the augmentation together with the seed, and the sample. It
    runs the code of training: a view of each photo makes a batch, in which they are mixed.

    Args:
        spec: The preprocessing of training images.
        crops: How to crop and flip.
        augmenters: The augmentations of single images.
        mixers: The augmentations that mix images.
        classes: Number of classes; only mixing needs it.
        count: Views of each photo.
        seed: Decides the augmentation.
    """
    transform = shrink_for_crops(spec, crop_scale=crops.crop_scale)

    def make_views(index: int, sample: Sample) -> Tensor:
        photo = transform(decode(sample.source, name=sample.name, min_side=transform.min_side))
        sizes = torch.tensor([photo.shape[:2]] * count)
        params = draw_params(sizes, spec, crops, make_generator(seed, index), augmenters)
        images = torch.from_numpy(crop_photos([photo] * count, params, spec)).permute(0, 3, 1, 2)
        return augment(images, params, augmenters)

    def make_all(photos: Sequence[tuple[int, Sample]]) -> list[list[NDArray[np.uint8]]]:
        if not photos:
            return []
        views = torch.stack([make_views(index, sample).float() for index, sample in photos])
        samples = [sample for _, sample in photos]
        for number in range(count if mixers else 0):
            targets = torch.from_numpy(make_targets(samples, classes=classes, multi_label=True)).float()
            images = normalise(views[:, number], spec)
            for position, mixer in enumerate(mixers):
                images, _ = mixer.mix(images, targets, seed=mixing_seed(seed, number, position))
            views[:, number] = _denormalise(images, spec)
        return [list(each.permute(0, 2, 3, 1).numpy()) for each in map(to_uint8, views)]

    return make_all


def mixing_seed(seed: int, step: int, position: int) -> tuple[int, ...]:
    """Returns the seed of the mixing augmentation at a position of the list, at a step counted over all epochs."""
    return (seed, step, position) if position else (seed, step)


def crop_photos(photos: Iterable[NDArray[np.uint8]], params: AugmentParams, spec: Preprocess) -> NDArray[np.uint8]:
    """Crops each photo, resizes the crop to `spec.size` with the interpolation of `spec`, and flips it. Thread-safe.

    The mean colour fills the part of the window outside the photo.

    Args:
        photos: uint8 ``(H, W, 3)`` each; only one is held at a time.
        params: One per photo.
        spec: The network's preprocessing.

    Returns:
        uint8 ``(N, h, w, 3)``.
    """
    images = np.empty((len(params), *spec.size, 3), np.uint8)
    lists = (each.tolist() for each in (params.box, params.resized, params.corner, params.hflip, params.vflip))
    for image, photo, box, resized, corner, hflip, vflip in zip(images, photos, *lists, strict=True):
        target = image[:: -1 if vflip else 1, :: -1 if hflip else 1]
        top, left, height, width = box
        crop = photo[top : top + height, left : left + width]
        if [height, width] != resized:
            crop = resize(crop, resized, mode=spec.interpolation)
        _copy_window(crop, corner, target, fill_colour(spec))
    return images


def _copy_window(
    resized: NDArray[np.uint8], corner: list[int], target: NDArray[np.uint8], fill: tuple[int, ...]
) -> None:
    """Copies the window of `resized` that starts at `corner` to `target`; `fill` is the colour outside."""
    if resized.shape == target.shape:
        target[:] = resized
        return
    (row, column), (height, width) = corner, target.shape[:2]
    visible = resized[max(0, row) : row + height, max(0, column) : column + width]
    if visible.shape != target.shape:
        target[:] = fill
    target[max(0, -row) :, max(0, -column) :][: visible.shape[0], : visible.shape[1]] = visible


def crop_batch(pixels: Tensor, starts: Tensor, widths: Tensor, params: AugmentParams, spec: Preprocess) -> Tensor:
    """Does the same as `crop_photos` for a whole batch on its device.

    Args:
        pixels: uint8 ``(P, 3)``: photos one after the other, on any device.
        starts: int64 ``(N,)`` on the CPU: where each photo of the batch starts.
        widths: int64 ``(N,)`` on the CPU: the widths of these photos.
        params: One per photo.
        spec: The network's preprocessing.

    Returns:
        uint8 ``(N, 3, h, w)``, on the device of `pixels`.
    """
    others = torch.stack([starts, widths, params.vflip.long(), params.hflip.long()], dim=1)
    numbers = torch.cat([params.box, params.resized, params.corner, others], dim=1)
    # A single copy to the device for all of them.
    moved = to_device(numbers, pixels.device).T.unsqueeze(2).unbind()
    top, left, height, width, rows, columns, row, column, start, photo_width, vflip, hflip = moved
    most_rows, most_columns = params.box[:, 2:].amax(dim=0).tolist()
    # A box smaller than the largest repeats its last row and column, whose weights are zero.
    y = top + torch.arange(most_rows, device=pixels.device).minimum(height - 1)
    x = left + torch.arange(most_columns, device=pixels.device).minimum(width - 1)
    boxes = pixels[(start + y * photo_width)[:, :, None] + x[:, None, :]].permute(0, 3, 1, 2)
    kernel = _cubic if spec.interpolation == "bicubic" else _triangle
    row_weights, row_inside = _resize_matrix(height, rows, row, most_rows, spec.size[0], vflip, kernel)
    column_weights, column_inside = _resize_matrix(width, columns, column, most_columns, spec.size[1], hflip, kernel)
    images = row_weights[:, None] @ boxes.float() @ column_weights.transpose(1, 2)[:, None]
    inside = row_inside[:, None, :, None] & column_inside[:, None, None, :]
    fill = to_device(torch.tensor(fill_colour(spec), dtype=torch.uint8), pixels.device).view(1, 3, 1, 1)
    return torch.where(inside, images.round_().clamp_(0, 255).to(torch.uint8), fill)


def _resize_matrix(
    length: Tensor,
    resized: Tensor,
    corner: Tensor,
    source: int,
    target: int,
    flip: Tensor,
    kernel: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """Returns weights ``(N, target, source)``, row i for target pixel i, and bool ``(N, target)``: inside the photo.

    The weights are those of Pillow and of torch's antialiased resize, restricted to the box. Tensors are ``(N, 1)``.
    """
    index = torch.arange(target, device=length.device)
    index = torch.where(flip.bool(), target - 1 - index, index) + corner
    inside = (index >= 0) & (index < resized)
    scale = (length / resized)[:, :, None]
    pixel = torch.arange(source, device=length.device) + 0.5
    distance = pixel - (index[:, :, None] + 0.5) * scale
    weights = kernel(distance.abs_() / scale.clamp(min=1)) * (pixel < length)[:, None]
    return weights / weights.sum(dim=2, keepdim=True).clamp_(min=1e-6), inside


def _triangle(distance: Tensor) -> Tensor:
    return (1 - distance).clamp_(min=0)


def _cubic(distance: Tensor) -> Tensor:
    """The cubic convolution kernel of Keys 1981 with a = -1/2, as in Pillow."""
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((2.5 - 0.5 * distance) * distance - 4) * distance + 2
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0))


def augment(images: Tensor, params: AugmentParams, augmenters: Sequence[Augmenter]) -> Tensor:
    """Applies augmentations to images.

    Args:
        images: uint8 ``(N, 3, h, w)``, on any device.
        params: One per image.
        augmenters: The augmentations, in their order.

    Returns:
        uint8, or float32 from 0 to 255; ``(N, 3, h, w)``.

    Raises:
        PluginError: An augmentation failed.
    """
    for augmenter, numbers in zip(augmenters, params.numbers, strict=True):
        images = augmenter.apply(images, numbers)
    return images


def normalise(images: Tensor, spec: Preprocess) -> Tensor:
    """Returns ``(x / 255 - mean) / std`` of images ``(N, 3, h, w)`` from 0 to 255, as new float32, channels-last."""
    count, channels, height, width = images.shape
    pixels = images.permute(0, 2, 3, 1).to(torch.float32, memory_format=torch.contiguous_format, copy=True)
    # In place, and on whole rows of 3 w values: the 3 values of a pixel are too few for vector instructions.
    rows = pixels.view(count, height, width * channels)
    for change, values in ((rows.sub_, spec.mean), (rows.div_, spec.std)):
        change(to_device(torch.tensor(values).mul_(255).repeat(width), images.device))
    return pixels.permute(0, 3, 1, 2)


def _denormalise(images: Tensor, spec: Preprocess) -> Tensor:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (spec.mean, spec.std))
    return (images * std + mean) * 255
