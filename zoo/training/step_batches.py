"""What steps train on: mixed batches, or all training images, read in parts, so that memory holds one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from zoo.data.loading.loader import Batch
    from zoo.training.mixing import MixedBatch


class TrainBatches(Protocol):
    """What a training is given: photos (`zoo.data.loading.loader.TrainLoader`) or cached features."""

    @property
    def steps(self) -> int:
        """Batches per epoch."""

    @property
    def images(self) -> int:
        """Images per epoch."""

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """Yields the batches of an epoch from step `start`, counted from 0: the same ones for the same numbers."""


class FullBatch:
    """The batch of a step that is an epoch; each reading yields the same images.

    Args:
        read: Yields the parts.
        images: Images in all parts.
        images_at_once: Images in a part.

    Attributes:
        images: Images in all parts.
        images_at_once: Images in a part.
        share: 1, as the share of a batch in its step.
    """

    def __init__(self, read: Callable[[], Iterator[MixedBatch]], *, images: int, images_at_once: int) -> None:
        self._read = read
        self._labels: list[Tensor] = []
        self.images, self.images_at_once, self.share = images, images_at_once, 1.0

    @property
    def labels(self) -> Tensor:
        """The labels in the order of the parts, int64 ``(N,)``; known once they were read."""
        return torch.cat(self._labels)

    def parts(self) -> Iterator[MixedBatch]:
        """Yields the parts, each with its share of the step."""
        labels = []
        for part in self._read():
            labels.append(part.labels)
            yield part._replace(share=len(part.labels) / self.images)
        self._labels = labels


class MixedBatches:
    """What steps train on: the training batches, mixed.

    Args:
        train: The training batches.
        mix: Mixes a batch, given its number, counted from 1 over all epochs.
    """

    def __init__(self, train: TrainBatches, *, mix: Callable[[Batch, int], MixedBatch]) -> None:
        self._train, self._mix = train, mix

    @property
    def steps(self) -> int:
        """Steps per epoch."""
        return self._train.steps

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[MixedBatch | FullBatch]:
        """Yields what each step of an epoch trains on, from step `start`, counted from 0."""
        for number, batch in enumerate(self._train.epoch(epoch, start=start), start=(epoch - 1) * self.steps + start):
            yield self._mix(batch, number + 1)


class FullBatches(MixedBatches):
    """The same with a single step per epoch, which trains on all images."""

    @property
    def steps(self) -> int:
        """Steps per epoch."""
        return 1

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[MixedBatch | FullBatch]:
        """Yields the batch of an epoch, unless that step was taken already."""
        train = self._train

        def read() -> Iterator[MixedBatch]:
            for number, batch in enumerate(train.epoch(epoch), start=(epoch - 1) * train.steps):
                yield self._mix(batch, number + 1)

        if start == 0:
            yield FullBatch(read, images=train.images, images_at_once=-(-train.images // train.steps))
