"""Augmentations that mix the images of a batch and their targets. Imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.data.loading.pipeline import to_device

if TYPE_CHECKING:
    import numpy as np

    from zoo.plugins.specs import AugmentationRequest
    from zoo_augmentations.options import CutMixOptions, MixUpOptions


class MixUp:
    """Blends each image with another one of the batch (Zhang et al. 2018, https://arxiv.org/abs/1710.09412).

    Args:
        request: Has a `MixUpOptions`.
    """

    def __init__(self, request: AugmentationRequest) -> None:
        self.options: MixUpOptions = request.options

    def __call__(self, images: Tensor, targets: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Returns images or features ``(N, ...)`` and targets ``(N, classes)``, both blended with one weight."""
        if not _is_due(self.options.probability, random):
            return images, targets
        weight = float(random.beta(self.options.alpha, self.options.alpha))
        others = _shuffled(len(images), random, images.device)
        return images.lerp(images[others], 1 - weight), targets.lerp(targets[others], 1 - weight)


class CutMix:
    """Pastes a rectangle of another image into each (Yun et al. 2019, https://arxiv.org/abs/1905.04899).

    Args:
        request: Has a `CutMixOptions`.
    """

    def __init__(self, request: AugmentationRequest) -> None:
        self.options: CutMixOptions = request.options

    def __call__(self, images: Tensor, targets: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Returns images ``(N, 3, H, W)``, and targets ``(N, classes)`` that are mixed by the pasted area."""
        if not _is_due(self.options.probability, random):
            return images, targets
        share = 1 - float(random.beta(self.options.alpha, self.options.alpha))
        others = _shuffled(len(images), random, images.device)
        height, width = images.shape[2:]
        rows, columns = (_interval(share**0.5, side, random) for side in (height, width))
        area = (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
        mixed = images.clone()
        mixed[:, :, rows, columns] = images[:, :, rows, columns][others]
        return mixed, targets.lerp(targets[others], area)


def _is_due(probability: float, random: np.random.Generator) -> bool:
    return probability == 1 or random.random() < probability


def _shuffled(count: int, random: np.random.Generator, device: torch.device) -> Tensor:
    return to_device(torch.from_numpy(random.permutation(count)), device)


def _interval(share: float, side: int, random: np.random.Generator) -> slice:
    """Returns pixels around a random centre, `share` of a side before the part outside the image is cut off."""
    half = int(side * share) // 2
    centre = int(random.integers(side))
    return slice(max(0, centre - half), min(side, centre + half))
