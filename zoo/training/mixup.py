"""Mixup: images and targets of a batch are mixed with those of others (Zhang et al. 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from zoo.data.loading.pipeline import to_device
from zoo.training.micro_batches import select

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zoo.data.loading.loader import Batch
    from zoo.plugins.contracts import Head


class MixedBatch(NamedTuple):
    """A batch whose images may be mixtures.

    Attributes:
        images: As in `zoo.data.loading.loader.Batch`.
        labels: int64 ``(N,)``, of the images' own classes.
        others: int64 ``(N,)``, of what was mixed in; None where nothing was.
        own: How much of each image is its own, 0 to 1.
        share: Weight of the mean loss in the mean over the whole step, as in `zoo.data.loading.loader.Batch`.
    """

    images: Any
    labels: Tensor
    others: Tensor | None = None
    own: float = 1.0
    share: float = 1.0

    def part(self, where: slice) -> MixedBatch:
        """Returns some of the images, with all that belongs to them, their share of the step included."""
        labels, others = self.labels[where], None if self.others is None else self.others[where]
        share = self.share * len(labels) / len(self.labels)
        return MixedBatch(select(self.images, where), labels, others, self.own, share)

    def loss(self, head: Head, logits: Tensor) -> Tensor:
        """Returns the mean loss over both targets, each with its weight."""
        loss = head.loss(logits, self.labels)
        return loss if self.others is None else loss.lerp(head.loss(logits, self.others), 1 - self.own)


def mix(batch: Batch, *, alpha: float, draw: Iterable[int]) -> MixedBatch:
    """Mixes each image with another of the batch, https://arxiv.org/abs/1710.09412.

    Args:
        batch: Of images, or of kept features.
        alpha: Of the Beta distribution; 0: nothing is mixed.
        draw: Numbers that decide the draws.
    """
    if not alpha:
        return MixedBatch(batch.images, batch.labels, share=batch.share)
    random = np.random.default_rng([*draw])
    own = float(random.beta(alpha, alpha))
    other = to_device(torch.from_numpy(random.permutation(len(batch.labels))), batch.labels.device)
    return MixedBatch(_lerp(batch.images, other, 1 - own), batch.labels, batch.labels[other], own, batch.share)


def _lerp(images: Any, other: Tensor, share: float) -> Any:
    if isinstance(images, Tensor):
        return images.lerp(images[other], share)
    return type(images)(*(_lerp(each, other, share) for each in images))  # kept features: the same for each of them
