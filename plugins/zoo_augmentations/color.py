"""Augmentations of colours and sharpness, for whole batches. Imports torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.data.loading.pipeline import to_device

if TYPE_CHECKING:
    from zoo.plugins.specs import AugmentationRequest
    from zoo_augmentations.options import BlurOptions, ColorJitterOptions, GrayscaleOptions

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in Pillow and torchvision
_MIN_SIGMA = 0.1  # of a blur, in pixels, as in SimCLR (Chen et al. 2020)
_REACH = 3  # standard deviations of a Gaussian that its kernel covers in either direction


class ColorJitter:
    """Varies brightness, contrast and saturation, as torchvision's ColorJitter.

    Args:
        request: Has a `ColorJitterOptions`.
    """

    def __init__(self, request: AugmentationRequest) -> None:
        self.options: ColorJitterOptions = request.options

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws factors of brightness, contrast and saturation, float32 ``(count, 3)``."""
        most = self.options.strength
        return torch.empty(count, 3).uniform_(1 - most, 1 + most, generator=generator)

    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Returns float32 images from 0 to 255."""
        brightness, contrast, saturation = to_device(numbers, images.device).T[:, :, None, None, None]
        images = (images.float() * brightness).clamp(0, 255)
        images = blend(images, luma(images).mean(dim=(2, 3), keepdim=True), contrast)
        return blend(images, luma(images), saturation)


class Grayscale:
    """Removes the colours of some images.

    Args:
        request: Has a `GrayscaleOptions`.
    """

    def __init__(self, request: AugmentationRequest) -> None:
        self.options: GrayscaleOptions = request.options

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws which images lose their colours, bool ``(count,)``."""
        return torch.rand(count, generator=generator) < self.options.probability

    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Returns images of the type that they have."""
        grey = luma(images.float())
        grey = grey if images.is_floating_point() else grey.round_().to(torch.uint8)
        return torch.where(to_device(numbers, images.device).view(-1, 1, 1, 1), grey, images)


class Blur:
    """Blurs some images with a Gaussian of random width, as SimCLR does (Chen et al. 2020).

    Args:
        request: Has a `BlurOptions`.
    """

    def __init__(self, request: AugmentationRequest) -> None:
        self.options: BlurOptions = request.options

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws standard deviations in pixels, float32 ``(count,)``; 0 for images that stay sharp."""
        blurred = torch.rand(count, generator=generator) < self.options.probability
        return blurred * torch.empty(count).uniform_(_MIN_SIGMA, self.options.sigma, generator=generator)

    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Returns float32 images from 0 to 255; edges repeat outside."""
        count, channels, height, width = images.shape
        reach = math.ceil(_REACH * self.options.sigma)
        distance = torch.arange(-reach, reach + 1, dtype=torch.float32)
        kernels = (-0.5 * (distance / numbers.clamp(min=1e-3)[:, None]) ** 2).exp()
        kernels = (kernels / kernels.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
        kernels = to_device(kernels, images.device)[:, None]
        # Every channel of every image is a channel of one image, with a kernel of its own: first rows, then columns.
        pixels = images.float().reshape(1, count * channels, height, width)
        pixels = F.conv2d(_pad(pixels, rows=reach), kernels[..., None], groups=count * channels)
        pixels = F.conv2d(_pad(pixels, columns=reach), kernels[:, :, None], groups=count * channels)
        return pixels.reshape(images.shape).clamp_(0, 255)


def luma(images: Tensor) -> Tensor:
    """Returns the brightness ``(N, 1, H, W)`` of float32 images ``(N, 3, H, W)``."""
    weights = to_device(torch.tensor(_LUMA), images.device).view(1, 3, 1, 1)
    return (images * weights).sum(dim=1, keepdim=True)


def blend(images: Tensor, others: Tensor, weight: Tensor) -> Tensor:
    """Returns images that differ `weight` times as much from others as they do, clamped to 0 to 255."""
    return (others + (images - others) * weight).clamp(0, 255)


def _pad(pixels: Tensor, *, rows: int = 0, columns: int = 0) -> Tensor:
    return F.pad(pixels, (columns, columns, rows, rows), mode="replicate")
