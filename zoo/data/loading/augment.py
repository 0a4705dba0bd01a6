"""Applies augmentation parameters to photos: one photo at a time on the CPU, or a whole batch on its device.

`crop_photos` resizes each crop on its own (`zoo.data.loading.transform.resize`). `crop_batch` is for photos in GPU
memory: a crop, its antialiased resize and its flip are separable into rows and columns, so a batch takes two batched
matrix products. Both agree within one level. The distribution is that of torchvision's reference transforms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.data.images.decode import decode
from zoo.data.images.resize import fill_colour
from zoo.data.loading.augment_params import draw_params, make_generator
from zoo.data.loading.pipeline import to_device
from zoo.data.loading.transform import resize, shrink_for_crops

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from zoo.data.loading.augment_params import Augmentation, AugmentParams
    from zoo.plugins.specs import Sample
    from zoo.preprocess import Preprocess


def augmented_views(
    spec: Preprocess, augmentation: Augmentation, *, count: int = 5, seed: int = 0
) -> Callable[[int, Sample], list[NDArray[np.uint8]]]:
    """Returns a function that makes `count` augmented views of a photo, uint8 ``(h, w, 3)``; see `zoo.report.sheets`.

    It takes the index of the photo, which decides the augmentation together with the seed, and the sample. It runs the
    code of the training loader, except for the normalisation.
    """
    transform = shrink_for_crops(spec, crop_scale=augmentation.crop_scale)

    def make_views(index: int, sample: Sample) -> list[NDArray[np.uint8]]:
        photo = transform(decode(sample.source, name=sample.name, min_side=transform.min_side))
        sizes = torch.tensor([photo.shape[:2]] * count)
        params = draw_params(sizes, spec, augmentation, make_generator(seed, index))
        images = torch.from_numpy(crop_photos([photo] * count, params, spec)).permute(0, 3, 1, 2)
        views = augment(images, params, spec, augmentation).round().clamp(0, 255).to(torch.uint8)
        return list(views.permute(0, 2, 3, 1).numpy())

    return make_views


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


def augment(images: Tensor, params: AugmentParams, spec: Preprocess, augmentation: Augmentation) -> Tensor:
    """Rotates, shears and recolours images.

    Args:
        images: uint8 ``(N, 3, h, w)``, on any device.
        params: One per image.
        spec: The network's preprocessing.
        augmentation: What to vary, and the magnitude of RandAugment.

    Returns:
        uint8, or float32 from 0 to 255 if anything varied; ``(N, 3, h, w)``.
    """
    if augmentation.rotation or augmentation.shear:
        images = _affine(images.float(), params, spec)
    if augmentation.color_jitter:
        images = _jitter(images.float(), params.colour)
    if augmentation.randaugment:
        images = _randaugment(images, params.seed, spec, augmentation.randaugment)
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


def _affine(images: Tensor, params: AugmentParams, spec: Preprocess) -> Tensor:
    """Rotates and shears each image about its centre, as torchvision's RandomAffine; fills with the mean colour."""
    count, _, height, width = images.shape
    aspect = width / height  # grid coordinates run from -1 to 1 on both axes, pixels do not
    tilt, cos, sin = torch.tan(params.shear), params.rotation.cos(), params.rotation.sin()
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
    results = []
    with torch.random.fork_rng(devices=[]):  # torchvision draws from torch's global generator
        for image, seed in zip(images.round().to(torch.uint8), seeds.tolist(), strict=True):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would also seed the devices' generators
            results.append(operation(image))
    return torch.stack(results)
