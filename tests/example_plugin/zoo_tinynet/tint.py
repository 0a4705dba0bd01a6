"""An augmentation. Imports torch, so it is imported when it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    import zoo


class Tint:
    """Shifts the colours of each image, as light of another colour does.

    Args:
        request: Describes the images; has the options, if there are any.
    """

    def __init__(self, request: zoo.AugmentationRequest) -> None:
        self.most = 40.0

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Draws a shift of red, green and blue for each image, ``(count, 3)``, from nothing but the generator."""
        return torch.empty(count, 3).uniform_(-self.most, self.most, generator=generator)

    def apply(self, images: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """Returns uint8 images ``(N, 3, H, W)``, on the device of `images`."""
        return (images + numbers.to(images.device)[:, :, None, None]).clamp(0, 255).to(torch.uint8)
