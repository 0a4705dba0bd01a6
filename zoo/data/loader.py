"""Batches for training and evaluation. What a batch holds is a pure function of the seed, the epoch and the step."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from zoo.data.augment import Augmentation, augment, centre_boxes, cut, normalise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from zoo.data.store import PhotoStore
    from zoo.specs import Preprocess

T = TypeVar("T")
_AHEAD = 2  # batches being collected while one is worked on


class Batch(NamedTuple):
    """What a network is given at a step.

    Attributes:
        images: float32 ``(N, 3, h, w)``, normalised, channels-last, on the device; or kept `zoo.contracts.Features`.
        labels: int64 ``(N,)``, on the device.
        share: Weight of this batch's mean loss in the mean over the whole step; less than 1 where a step's images are
            shared out among processes.
    """

    images: Any
    labels: Tensor
    share: float = 1.0


class TrainLoader:
    """Augmented batches of the training part, in a new order every epoch.

    A last batch of a single image joins the one before it: batch normalisation cannot learn from one.

    Args:
        store: The photos.
        preprocess: The network's.
        augmentation: How photos are varied.
        batch_size: Images a step.
        seed: Decides order and augmentation.
        device: Where the batches are made.
    """

    def __init__(
        self,
        store: PhotoStore,
        *,
        preprocess: Preprocess,
        augmentation: Augmentation,
        batch_size: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.store = store
        self.preprocess = preprocess
        self.augmentation = augmentation
        self.batch_size = batch_size
        self.seed = seed
        self.device = device
        self._labels = torch.from_numpy(store.labels())

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return len(self._split(torch.arange(len(self.store))))

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """Yields the batches of an epoch from step `start`."""
        order = torch.randperm(len(self.store), generator=generator_for(self.seed, epoch))
        chunks = self._split(order)[start:]
        collected = _ahead(chunks, lambda indices: _collate(self.store, indices))
        for step, (indices, (photos, sizes)) in enumerate(zip(chunks, collected, strict=True), start=start):
            yield Batch(
                self.augmented(photos, sizes, generator_for(self.seed, epoch, step)),
                self._labels[indices].to(self.device, non_blocking=True),
            )

    def augmented(self, photos: Tensor, sizes: Tensor, generator: torch.Generator) -> Tensor:
        """Returns the network's input made of padded photos, as `zoo.data.augment.augment` and `normalise`."""
        images = augment(
            photos.to(self.device, non_blocking=True), sizes, self.preprocess, self.augmentation, generator
        )
        return normalise(images, self.preprocess)

    def centred(self, *, flipped: bool = False) -> Iterator[Batch]:
        """Yields every photo once, in order, as evaluation would see it, mirrored if `flipped`."""
        chunks = torch.arange(len(self.store)).split(self.batch_size)
        for indices, (photos, sizes) in zip(chunks, _ahead(chunks, lambda i: _collate(self.store, i)), strict=True):
            flips = torch.full((len(indices),), flipped)
            images = cut(
                photos.to(self.device),
                sizes,
                centre_boxes(sizes, self.preprocess),
                self.preprocess,
                hflip=flips,
                vflip=torch.zeros_like(flips),
            )
            yield Batch(normalise(images, self.preprocess), self._labels[indices].to(self.device))

    def _split(self, order: Tensor) -> list[Tensor]:
        chunks = list(order.split(self.batch_size))
        if len(chunks) > 1 and len(chunks[-1]) == 1:
            chunks[-2:] = [torch.cat(chunks[-2:])]
        return chunks


class EvalLoader:
    """Batches of a part as evaluation sees it: resized and cropped exactly as everywhere else.

    Args:
        store: Photos prepared by `zoo.data.store.for_evaluation`.
        preprocess: The network's.
        batch_size: Images a batch.
        device: Where the batches go.
    """

    def __init__(self, store: PhotoStore, *, preprocess: Preprocess, batch_size: int, device: torch.device) -> None:
        self.store = store
        self.preprocess = preprocess
        self.batch_size = batch_size
        self.device = device
        self._labels = torch.from_numpy(store.labels())

    def __iter__(self) -> Iterator[Batch]:
        chunks = torch.arange(len(self.store)).split(self.batch_size)
        for indices, photos in zip(chunks, _ahead(chunks, self._stack), strict=True):
            images = photos.to(self.device, non_blocking=True).permute(0, 3, 1, 2)
            yield Batch(normalise(images, self.preprocess), self._labels[indices].to(self.device))

    def _stack(self, indices: Tensor) -> Tensor:
        return torch.from_numpy(np.stack([self.store[i] for i in indices.tolist()]))


def generator_for(seed: int, *path: int) -> torch.Generator:
    """Returns a generator whose draws depend on the seed and a path of numbers (epoch, step), and on nothing else."""
    # A spawn key tells (1,) from (1, 0), as entropy would not: an epoch's order is no batch's augmentation.
    state = np.random.SeedSequence(seed, spawn_key=path).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 ^ int(state[1]))


def _collate(store: PhotoStore, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Returns photos uint8 ``(N, 3, H, W)``, padded to the largest, and their true sizes int64 ``(N, 2)``."""
    photos: list[NDArray[np.uint8]] = [store[i] for i in indices.tolist()]
    sizes = np.array([photo.shape[:2] for photo in photos], dtype=np.int64)
    canvas = np.zeros((len(photos), *sizes.max(axis=0), 3), dtype=np.uint8)
    for slot, photo in zip(canvas, photos, strict=True):
        slot[: photo.shape[0], : photo.shape[1]] = photo
    return torch.from_numpy(canvas).permute(0, 3, 1, 2), torch.from_numpy(sizes)


def _ahead(items: Iterable[Tensor], work: Callable[[Tensor], T]) -> Iterator[T]:
    """Maps `work` over `items` in order, a few items ahead, in a thread of its own."""
    pool = ThreadPoolExecutor(1)
    try:
        rest = iter(items)
        pending = [pool.submit(work, item) for item in islice(rest, _AHEAD)]
        while pending:
            result = pending.pop(0).result()
            pending += [pool.submit(work, item) for item in islice(rest, 1)]
            yield result
    finally:
        # Left early by an exception, this may run when garbage is collected, at any place in any thread: also where
        # waiting for a thread would wait for itself.
        pool.shutdown(wait=False, cancel_futures=True)
