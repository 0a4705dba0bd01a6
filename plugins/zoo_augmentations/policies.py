"""RandAugment and TrivialAugment: which operation each image gets, and how strong it is. Imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo_augmentations.operations import OPERATIONS, Range, apply_operations

if TYPE_CHECKING:
    from zoo.plugins.specs import AugmentationRequest
    from zoo_augmentations.options import RandAugmentOptions

_SEEDS = 2**31
# Where each policy ends, at the largest magnitude; both as in torchvision.
_RAND = Range(shear=0.3, shift=150 / 331, relative=True, rotation=30.0, change=0.9, lost_bits=4)
_TRIVIAL = Range(shear=0.99, shift=32.0, relative=False, rotation=135.0, change=0.99, lost_bits=6)


class RandAugment:
    """Applies random operations of one magnitude to each image, as torchvision's RandAugment.

    Cubuk et al. 2019, https://arxiv.org/abs/1909.13719.

    Args:
        request: Has the colour of pixels from outside and a `RandAugmentOptions`.
    """

    def __init__(self, request: AugmentationRequest) -> None:
        self.options: RandAugmentOptions = request.options
        self.fill = tuple(map(round, request.fill))

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws an operation and a sign for each image and round, int64 ``(count, operations, 2)``."""
        own = torch.Generator()
        seeds = torch.randint(_SEEDS, (count,), generator=generator).tolist()
        # The numbers of an image come from a generator of its own, in the order in which torchvision draws them.
        rows = [
            [self._draw_operation(own) for _ in range(self.options.operations)]
            for seed in seeds
            if own.manual_seed(seed)
        ]
        return torch.tensor(rows, dtype=torch.int64).view(count, self.options.operations, 2)

    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Returns uint8 images."""
        table = _RAND.magnitudes(images.shape[2:])[:, self.options.magnitude]
        for number, sign in numbers.permute(1, 2, 0):
            images = apply_operations(images, number, sign * table[number], fill=self.fill)
        return images

    @staticmethod
    def _draw_operation(generator: torch.Generator) -> tuple[int, int]:
        number = int(torch.randint(len(OPERATIONS), (), generator=generator))
        is_signed = OPERATIONS[number].is_signed
        return number, -1 if is_signed and float(torch.rand((), generator=generator)) <= 0.5 else 1


class TrivialAugment:
    """Applies one random operation of random magnitude to each image, as torchvision's TrivialAugmentWide.

    Müller & Hutter 2021, https://arxiv.org/abs/2103.10158.

    Args:
        request: Has the colour of pixels from outside.
    """

    def __init__(self, request: AugmentationRequest) -> None:
        self.fill = tuple(map(round, request.fill))

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws an operation, a magnitude and a sign for each image, int64 ``(count, 3)``."""
        ends = (len(OPERATIONS), Range.STEPS, 2)
        return torch.stack([torch.randint(end, (count,), generator=generator) for end in ends], dim=1)

    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Returns uint8 images."""
        number, step, positive = numbers.T
        signed = torch.tensor([operation.is_signed for operation in OPERATIONS])[number]
        sign = torch.where(signed & (positive == 0), -1, 1)
        magnitude = _TRIVIAL.magnitudes(images.shape[2:])[number, step]
        return apply_operations(images, number, sign * magnitude, fill=self.fill)
