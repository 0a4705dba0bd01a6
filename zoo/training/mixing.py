"""Batches whose images may be mixed with each other, with targets to match: MixUp, CutMix and others by plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from zoo.data.loading.augment import mixing_seed
from zoo.models.nested import map_tensors
from zoo.training.micro_batches import select

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.data.loading.augmenters import Mixer
    from zoo.data.loading.loader import Batch
    from zoo.plugins.contracts import Head


class MixedBatch(NamedTuple):
    """A batch whose images may be mixed.

    Attributes:
        images: As in `zoo.data.loading.loader.Batch`.
        labels: As in `zoo.data.loading.loader.Batch`, of the images before they were mixed.
        targets: Soft targets float32 ``(N, classes)``; None if nothing was mixed.
        share: Weight of the mean loss in the mean over the whole step, as in `zoo.data.loading.loader.Batch`.
    """

    images: Any
    labels: Tensor
    targets: Tensor | None = None
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
        labels, targets = self.labels[where], None if self.targets is None else self.targets[where]
        share = self.share * len(labels) / len(self.labels)
        return MixedBatch(select(self.images, where), labels, targets, share)

    def loss(self, head: Head, logits: Tensor) -> Tensor:
        """Returns the mean loss."""
        return head.loss(logits, self.labels if self.targets is None else self.targets)


def mix(batch: Batch, mixers: Sequence[Mixer], *, classes: int, seed: int, step: int) -> MixedBatch:
    """Mixes the images of a batch.

    Args:
        batch: A batch of images or of cached features.
        mixers: The augmentations that mix, in their order.
        classes: Number of classes.
        seed: The seed of the run.
        step: Counted from 1 over all epochs.

    Raises:
        PluginError: An augmentation failed.
    """
    images, labels = batch.images, batch.labels
    if not mixers:
        return MixedBatch(images, labels, share=batch.share)
    if labels.ndim == 2:
        targets = labels.float()
    else:  # not by `one_hot`, which waits for the device
        targets = torch.zeros(len(labels), classes, device=labels.device).scatter_(1, labels[:, None], 1.0)
    for position, mixer in enumerate(mixers):
        images, targets = _mix_all(mixer, images, targets, seed=mixing_seed(seed, step, position))
    return MixedBatch(images, labels, targets, batch.share)


def _mix_all(mixer: Mixer, images: Any, targets: Tensor, *, seed: Sequence[int]) -> tuple[Any, Tensor]:
    """Mixes all tensors of features alike: with the same seed, the same numbers are drawn for each."""
    results: list[Tensor] = []

    def mix_one(tensor: Tensor) -> Tensor:
        mixed, soft = mixer.mix(tensor, targets, seed=seed)
        results.append(soft)
        return mixed

    return map_tensors(mix_one, images), results[0]
