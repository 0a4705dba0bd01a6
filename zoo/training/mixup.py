"""Mixup: blends the images and targets of a batch with each other (Zhang et al. 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from zoo.data.loading.pipeline import to_device
from zoo.models.nested import map_tensors
from zoo.training.micro_batches import select

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zoo.data.loading.loader import Batch
    from zoo.plugins.contracts import Head


class MixedBatch(NamedTuple):
    """A batch whose images may be blends of two.

    Attributes:
        images: As in `zoo.data.loading.loader.Batch`.
        labels: int64 ``(N,)``, the classes of the images themselves.
        other_labels: int64 ``(N,)``, the classes of the images that were blended in; None without mixup.
        weight: Weight of the image itself in each blend, 0 to 1.
        share: Weight of the mean loss in the mean over the whole step, as in `zoo.data.loading.loader.Batch`.
    """

    images: Any
    labels: Tensor
    other_labels: Tensor | None = None
    weight: float = 1.0
    share: float = 1.0

    @property
    def images_at_once(self) -> int:
        """Images that are in memory together: all of the batch."""
        return len(self.labels)

    def parts(self) -> tuple[MixedBatch, ...]:
        """Returns the parts that are read one after the other: the batch itself."""
        return (self,)

    def select(self, where: slice) -> MixedBatch:
        """Returns a micro-batch, with its share of the step."""
        labels, others = self.labels[where], None if self.other_labels is None else self.other_labels[where]
        share = self.share * len(labels) / len(self.labels)
        return MixedBatch(select(self.images, where), labels, others, self.weight, share)

    def loss(self, head: Head, logits: Tensor) -> Tensor:
        """Returns the mean loss over both targets, each with its weight."""
        loss = head.loss(logits, self.labels)
        return loss if self.other_labels is None else loss.lerp(head.loss(logits, self.other_labels), 1 - self.weight)


def mix(batch: Batch, *, alpha: float, seed: Iterable[int]) -> MixedBatch:
    """Blends each image with another one of the batch, https://arxiv.org/abs/1710.09412.

    Args:
        batch: A batch of images or of cached features.
        alpha: Parameter of the Beta distribution; 0 for no mixup.
        seed: Numbers that seed the random generator.
    """
    if not alpha:
        return MixedBatch(batch.images, batch.labels, share=batch.share)
    random = np.random.default_rng([*seed])
    weight = float(random.beta(alpha, alpha))
    other = to_device(torch.from_numpy(random.permutation(len(batch.labels))), batch.labels.device)
    images = map_tensors(lambda tensor: tensor.lerp(tensor[other], 1 - weight), batch.images)
    return MixedBatch(images, batch.labels, batch.labels[other], weight, batch.share)
