"""Keeps what the frozen part of a backbone makes of images, so that an epoch pays for what learns alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from zoo.data.loading.loader import Batch
from zoo.data.loading.pipeline import to_device
from zoo.models.frozen_split import CachedActivations
from zoo.training.forward import in_micro_batches
from zoo.training.micro_batches import MicroBatches, select

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from zoo.models.frozen_split import FrozenSplit
    from zoo.models.precision import Precision


class Views(Protocol):
    """Training photos that can be had in numbered views: `zoo.data.loading.loader.TrainLoader`."""

    @property
    def steps(self) -> int:
        """Batches an epoch."""

    def epoch_indices(self, epoch: int) -> list[Tensor]:
        """Returns which photos are in each batch of an epoch: int64 ``(N,)`` on the CPU."""

    def view(self, number: int) -> Iterator[Batch]:
        """Yields a view of all photos, in their order."""


class ActivationCache:
    """What the frozen part made of every image of a part; `Batch.images` is `zoo.models.frozen_split.CachedActivations`.

    Attributes:
        values: Of all images.
        labels: int64 ``(N,)``.
    """

    def __init__(self, values: CachedActivations, labels: Tensor, *, batch_size: int) -> None:
        self.values = values
        self.labels = labels
        self._batch_size = batch_size

    def __iter__(self) -> Iterator[Batch]:
        return map(self.pick, torch.arange(len(self.labels)).split(self._batch_size))

    def pick(self, indices: Tensor) -> Batch:
        """Returns some images as a batch of its own: a network may overwrite what it is given."""
        indices = to_device(indices, self.labels.device)
        return Batch(select(self.values, indices), self.labels[indices])


class LazyActivationCache:
    """A part that is taken as far as the split when its batches are first asked for, and kept from then on.

    Args:
        fill: Makes the kept values.
    """

    def __init__(self, fill: Callable[[], ActivationCache]) -> None:
        self._fill = fill
        self._cached: ActivationCache | None = None

    def __iter__(self) -> Iterator[Batch]:
        if self._cached is None:
            with torch.inference_mode(mode=False):  # evaluation may ask, but what is kept is for all
                self._cached = self._fill()
        return iter(self._cached)


class CachedViews:
    """Some views of the training photos, each taken as far as the split when its first epoch begins.

    Epoch e learns from view (e - 1) mod `views`, in an order of its own.

    Args:
        train: The photos.
        views: How many views there are.
        fill: Makes the kept values of a view.
    """

    def __init__(self, train: Views, *, views: int, fill: Callable[[Iterable[Batch]], ActivationCache]) -> None:
        self._train = train
        self._views = views
        self._fill = fill
        self._cached: dict[int, ActivationCache] = {}

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return self._train.steps

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """Yields the batches of an epoch from step `start`: the photos of `train`'s, in the epoch's view."""
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
) -> ActivationCache:
    """Runs the frozen part of a backbone once over all batches, and keeps what it gives, as it comes.

    Args:
        split: Where the frozen part ends.
        batches: Of images.
        count: How many images these are together.
        batch_size: Of the batches in order.
        precision: Of the forward pass.
        progress: Called with how many images are done.
        micro_batches: How many images at a time; where memory runs out they become fewer.

    Raises:
        TrainingError: Memory is too small for a single image.
    """
    room: list[Tensor] = []
    labels: list[Tensor] = []
    done = 0
    micro_batches = micro_batches or MicroBatches()
    for batch in batches:
        values = in_micro_batches(split.keep, batch, precision, micro_batches)
        room = room or [_room_for(count, value) for value in values]
        for place, value in zip(room, values, strict=True):
            place[done : done + len(value)] = value
        labels.append(batch.labels)
        done += len(batch.labels)
        progress(done)
    return ActivationCache(CachedActivations(*room), torch.cat(labels), batch_size=batch_size)


def _room_for(count: int, value: Tensor) -> Tensor:
    """Returns an empty tensor for `count` images of which `value` shows the shape, and the layout in memory."""
    convolved = value.ndim == 4 and value.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if convolved else torch.contiguous_format
    return torch.empty((count, *value.shape[1:]), dtype=value.dtype, device=value.device, memory_format=layout)
