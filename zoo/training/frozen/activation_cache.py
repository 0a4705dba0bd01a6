"""Caches the output of the frozen stages of a backbone, so that an epoch computes only the trainable ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from zoo.data.loading.loader import Batch
from zoo.data.loading.pipeline import to_device
from zoo.models.frozen_split import CachedActivations
from zoo.training.finite import FrozenOutputs, find_bad_rows
from zoo.training.forward import in_micro_batches
from zoo.training.micro_batches import MicroBatches, select

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from zoo.models.frozen_split import FrozenSplit
    from zoo.models.precision import Precision


class Views(Protocol):
    """Training photos in numbered views: `zoo.data.loading.loader.TrainLoader`."""

    @property
    def steps(self) -> int:
        """Batches per epoch."""

    @property
    def images(self) -> int:
        """Images per epoch."""

    def epoch_indices(self, epoch: int) -> list[Tensor]:
        """Returns the photos in each batch of an epoch: int64 ``(N,)`` on the CPU."""

    def view(self, number: int) -> Iterator[Batch]:
        """Yields a view of all photos, in order."""


class ActivationCache:
    """The activations of every image of a split; its batches hold `zoo.models.frozen_split.CachedActivations`.

    Attributes:
        values: The activations of all images.
        labels: int64 ``(N,)``.
    """

    def __init__(self, values: CachedActivations, labels: Tensor, *, batch_size: int) -> None:
        self.values = values
        self.labels = labels
        self._batch_size = batch_size

    def __iter__(self) -> Iterator[Batch]:
        return map(self.pick, torch.arange(len(self.labels)).split(self._batch_size))

    def pick(self, indices: Tensor) -> Batch:
        """Returns a batch of some images. It is a copy, because a network may overwrite its input."""
        indices = to_device(indices, self.labels.device)
        return Batch(select(self.values, indices), self.labels[indices])


class LazyActivationCache:
    """The activations of a split, computed when they are first iterated over.

    Args:
        fill: Computes the activations.
    """

    def __init__(self, fill: Callable[[], ActivationCache]) -> None:
        self._fill = fill
        self._cached: ActivationCache | None = None

    def __iter__(self) -> Iterator[Batch]:
        if self._cached is None:
            with torch.inference_mode(mode=False):  # the first to iterate may be an evaluation
                self._cached = self._fill()
        return iter(self._cached)


class CachedViews:
    """The activations of some views of the training photos, each computed when its first epoch begins.

    Epoch e uses view (e - 1) mod `views`, in an order of its own.

    Args:
        train: The photos.
        views: Number of views.
        fill: Computes the activations of a view.
    """

    def __init__(self, train: Views, *, views: int, fill: Callable[[Iterable[Batch]], ActivationCache]) -> None:
        self._train = train
        self._views = views
        self._fill = fill
        self._cached: dict[int, ActivationCache] = {}

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        return self._train.steps

    @property
    def images(self) -> int:
        """Images per epoch."""
        return self._train.images

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """Yields the batches of an epoch from step `start`, with the same photos as those of `train`."""
        number = (epoch - 1) % self._views
        if number not in self._cached:
            self._cached[number] = self._fill(self._train.view(number))
        return map(self._cached[number].pick, self._train.epoch_indices(epoch)[start:])


@torch.no_grad()
def cache_activations(
    split: FrozenSplit,
    batches: Iterable[Batch],
    *,
    count: int,
    batch_size: int,
    precision: Precision,
    progress: Callable[[int], None],
    micro_batches: MicroBatches | None = None,
    described: FrozenOutputs | None = None,
) -> ActivationCache:
    """Runs the frozen stages of a backbone once over all batches and caches their output, unchanged in type.

    Args:
        split: The end of the frozen stages.
        batches: Batches of images.
        count: Number of images in all batches.
        batch_size: Size of the batches when the cache is iterated over.
        precision: The precision of the forward pass.
        progress: Called with the number of images done.
        micro_batches: How many images the network processes at a time; halved when memory runs out.
        described: For the message if some of the output is not finite.

    Raises:
        TrainingError: Memory is too small for a single image, or the output is not finite.
    """
    cached: list[Tensor] = []
    labels: list[Tensor] = []
    bad: list[int] = []
    done = 0
    micro_batches = micro_batches or MicroBatches()
    for batch in batches:
        values = in_micro_batches(split.run_frozen, batch, precision, micro_batches)
        cached = cached or [_empty_like(value, count) for value in values]
        for target, value in zip(cached, values, strict=True):
            target[done : done + len(value)] = value
        # Waits for the device, once a batch: this is not a training step.
        bad += [done + number for number in find_bad_rows(values)]
        labels.append(batch.labels)
        done += len(batch.labels)
        progress(done)
    (described or FrozenOutputs()).check(bad, total=done)
    return ActivationCache(CachedActivations(*cached), torch.cat(labels), batch_size=batch_size)


def _empty_like(value: Tensor, count: int) -> Tensor:
    """Returns an uninitialised tensor for `count` images, with the type, shape and memory layout of `value`."""
    channels_last = value.ndim == 4 and value.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty((count, *value.shape[1:]), dtype=value.dtype, device=value.device, memory_format=layout)
