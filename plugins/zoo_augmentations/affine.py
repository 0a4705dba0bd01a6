"""Rotation and shear of whole batches. Imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.data.loading.pipeline import to_device

if TYPE_CHECKING:
    from zoo.plugins.specs import AugmentationRequest
    from zoo_augmentations.options import AffineOptions


class Affine:
    """Rotates and shears each image about its centre, as torchvision's RandomAffine; fills with the mean colour.

    Args:
        request: Has the colour and an `AffineOptions`.
    """

    def __init__(self, request: AugmentationRequest) -> None:
        self.options: AffineOptions = request.options
        self.fill = torch.tensor(request.fill, dtype=torch.float32)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws the angles of rotation and shear in radians, float32 ``(count, 2)``."""
        angles = (self.options.rotation, self.options.shear)
        degrees = [
            torch.empty(count).uniform_(-most, most, generator=generator) if most else torch.zeros(count)
            for most in angles
        ]
        return torch.deg2rad(torch.stack(degrees, dim=1))

    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Returns float32 images from 0 to 255, interpolated bilinearly."""
        height, width = images.shape[2:]
        rotation, shear = numbers.T.contiguous()
        aspect = width / height  # grid coordinates run from -1 to 1 on both axes, pixels do not
        tilt, cos, sin = torch.tan(shear), rotation.cos(), rotation.sin()
        theta = torch.zeros(len(images), 2, 3)
        theta[:, 0, 0], theta[:, 0, 1] = cos + tilt * sin, (tilt * cos - sin) / aspect
        theta[:, 1, 0], theta[:, 1, 1] = sin * aspect, cos
        grid = F.affine_grid(to_device(theta, images.device), list(images.shape), align_corners=False)
        fill = to_device(self.fill, images.device).view(1, 3, 1, 1)
        return F.grid_sample(images.float() - fill, grid, mode="bilinear", align_corners=False) + fill
