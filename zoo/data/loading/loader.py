"""Batches for training and evaluation. Seed, epoch and step alone decide the content of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from zoo.data.loading.augment import augment, crop_batch, crop_photos, normalise
from zoo.data.loading.augment_params import draw_params, make_generator
from zoo.data.loading.pipeline import prefetch_images, to_device
from zoo.data.loading.sampling import epoch_order
from zoo.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from zoo.config.finetune_config import Sampler
    from zoo.data.loading.augment_params import AugmentParams, CropPolicy
    from zoo.data.loading.augmenters import Augmenter
    from zoo.data.loading.store import PhotoStore
    from zoo.preprocess import Preprocess


class Batch(NamedTuple):
    """The input of a network at one step.

    Attributes:
        images: float32 ``(N, 3, h, w)``, normalised, channels-last, on the device; or cached
            `zoo.plugins.contracts.Features`.
        labels: int64 ``(N,)``, or of multi-label data multi-hot uint8 ``(N, classes)``; on the device.
        share: This batch's fraction of the images of the whole step, which weights its mean loss; less than 1 if
            several processes share the step.
    """

    images: Any
    labels: Tensor
    share: float = 1.0


class TrainLoader:
    """Augmented batches of the training split, in a new order every epoch.

    A last batch with a single image is merged into the one before it, because batch normalisation cannot train on a
    single image. If several processes share each step, order and augmentation are those of a single process, and each
    process gets its `shard` of every step; a last batch with fewer images than processes is merged too.

    Args:
        store: The photos.
        preprocess: The network's preprocessing.
        crops: How to crop and flip the photos.
        batch_size: Images per step, over all processes.
        seed: Decides order and augmentation.
        device: Where the batches go.
        rank: Number of this process, from 0.
        world_size: Number of processes.
        augmenters: What is done to the images afterwards, in this order.
        views: Epoch e shows view (e - 1) mod `views` of every photo; None draws new ones every epoch.
        sampler: Which photos an epoch shows; see `zoo.data.loading.sampling.epoch_order`.

    Raises:
        ConfigError: There are fewer photos, or images per step, than processes.
    """

    def __init__(
        self,
        store: PhotoStore,
        *,
        preprocess: Preprocess,
        crops: CropPolicy,
        batch_size: int,
        seed: int,
        device: torch.device,
        rank: int = 0,
        world_size: int = 1,
        augmenters: Sequence[Augmenter] = (),
        views: int | None = None,
        sampler: Sampler = "none",
    ) -> None:
        if min(batch_size, len(store)) < world_size:
            raise ConfigError(
                f"{world_size} processes cannot share {min(batch_size, len(store))} images per step.",
                hint="Raise --batch-size, or use fewer processes.",
            )
        self.store = store
        self.preprocess = preprocess
        self.crops = crops
        self.augmenters = augmenters
        self.batch_size = batch_size
        self.seed = seed
        self.device = device
        self.rank = rank
        self.world_size = world_size
        self.views = views
        self.sampler = sampler
        self._labels = torch.from_numpy(store.labels())
        self._sizes = torch.from_numpy(store.sizes)

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        return len(self._split(torch.arange(len(self.store))))

    @property
    def images(self) -> int:
        """Images per epoch, of all processes."""
        return len(self.store)

    @property
    def images_per_step(self) -> int:
        """Images of this process at each step but the last of an epoch."""
        first = self._split(torch.arange(len(self.store)))[0]
        return len(first[shard(len(first), self.rank, self.world_size)])

    @property
    def min_images(self) -> int:
        """The fewest images that any process gets at any step."""
        return min(map(len, self._split(torch.arange(len(self.store))))) // self.world_size

    def epoch_indices(self, epoch: int) -> list[Tensor]:
        """Returns the photos in each batch of an epoch, over all processes: int64 ``(N,)`` on the CPU."""
        return self._split(epoch_order(self._labels, self.sampler, seed=self.seed, epoch=epoch))

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """Yields this process's shard of each batch of an epoch, from step `start`."""
        steps = self.epoch_indices(epoch)[start:]
        shards = [shard(len(indices), self.rank, self.world_size) for indices in steps]
        view = None if self.views is None else self._view_params((epoch - 1) % self.views)

        def step_params(indices: Tensor, step: int) -> AugmentParams:
            return self._draw(indices, make_generator(self.seed, epoch, step)) if view is None else view[indices]

        plan = (
            # Drawn for the whole step: every process draws the same numbers and applies its shard.
            (indices[mine], step_params(indices, step)[mine])
            for step, (indices, mine) in enumerate(zip(steps, shards, strict=True), start=start)
        )
        for batch, indices in zip(self._batches(plan), steps, strict=True):
            yield batch._replace(share=len(batch.labels) / len(indices))

    def view(self, number: int) -> Iterator[Batch]:
        """Yields augmented batches of this process's `shard` of all photos, in order.

        Args:
            number: Of the view. Only it and the seed decide the augmentation of every photo.
        """
        mine = torch.arange(len(self.store))[shard(len(self.store), self.rank, self.world_size)]
        params = self._view_params(number)
        return self._batches((indices, params[indices]) for indices in mine.split(self.batch_size))

    def _view_params(self, number: int) -> AugmentParams:
        return self._draw(torch.arange(len(self.store)), make_generator(self.seed, 0, number, 0))

    def _draw(self, indices: Tensor, generator: torch.Generator) -> AugmentParams:
        return draw_params(self._sizes[indices], self.preprocess, self.crops, generator, self.augmenters)

    def _batches(self, plan: Iterable[tuple[Tensor, AugmentParams]]) -> Iterator[Batch]:
        crops = self._crop_on_device(plan) if self.store.on_device else self._crop_in_threads(plan)
        for images, (indices, params) in crops:
            augmented = augment(images, params, self.augmenters)
            yield Batch(normalise(augmented, self.preprocess), to_device(self._labels[indices], self.device))

    def _crop_in_threads(
        self, plan: Iterable[tuple[Tensor, AugmentParams]]
    ) -> Iterator[tuple[Tensor, tuple[Tensor, AugmentParams]]]:
        def make(batch: tuple[Tensor, AugmentParams], some: slice) -> NDArray[np.uint8]:
            indices, params = batch
            return crop_photos((self.store[i] for i in indices[some].tolist()), params[some], self.preprocess)

        counted = ((len(indices), (indices, params)) for indices, params in plan)
        return prefetch_images(counted, make, threads=self.store.workers, device=self.device)

    def _crop_on_device(
        self, plan: Iterable[tuple[Tensor, AugmentParams]]
    ) -> Iterator[tuple[Tensor, tuple[Tensor, AugmentParams]]]:
        photos = self.store.on_device
        assert photos is not None
        for indices, params in plan:
            starts, widths = photos.starts[indices], self._sizes[indices, 1]
            yield crop_batch(photos.pixels, starts, widths, params, self.preprocess), (indices, params)

    def _split(self, order: Tensor) -> list[Tensor]:
        return split_steps(order, self.batch_size, min_images=max(2, self.world_size))


class EvalLoader:
    """Batches of a split as evaluation sees it, with the same resize and crop as everywhere else.

    Each of several processes gets its `shard` of the split: the outputs of all processes, one after the other, are in
    the order of the photos.

    Args:
        store: Photos prepared by `zoo.data.loading.transform.EvalTransform`.
        preprocess: The network's preprocessing.
        batch_size: Images per batch.
        device: Where the batches go.
        rank: Number of this process, from 0.
        world_size: Number of processes.
    """

    def __init__(
        self,
        store: PhotoStore,
        *,
        preprocess: Preprocess,
        batch_size: int,
        device: torch.device,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.store = store
        self.preprocess = preprocess
        self.batch_size = batch_size
        self.device = device
        self._mine = torch.arange(len(store))[shard(len(store), rank, world_size)]
        self._labels = torch.from_numpy(store.labels())

    def __iter__(self) -> Iterator[Batch]:
        batches = [indices for indices in self._mine.split(self.batch_size) if len(indices)]
        gather = self._gather_on_device if self.store.on_device else self._gather_in_threads
        for images, indices in gather(batches):
            yield Batch(normalise(images, self.preprocess), to_device(self._labels[indices], self.device))

    def _gather_in_threads(self, batches: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        def make(indices: Tensor, some: slice) -> NDArray[np.uint8]:
            return np.stack([self.store[i] for i in indices[some].tolist()])

        counted = ((len(indices), indices) for indices in batches)
        return prefetch_images(counted, make, threads=self.store.workers, device=self.device)

    def _gather_on_device(self, batches: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        photos = self.store.on_device
        assert photos is not None
        pixels = photos.pixels.view(-1, *self.preprocess.size, 3)  # all photos have the same size
        return ((pixels[to_device(each, self.device)].permute(0, 3, 1, 2), each) for each in batches)


def split_steps(order: Tensor, batch_size: int, *, min_images: int = 2) -> list[Tensor]:
    """Splits the images of an epoch into steps; a last step with fewer than `min_images` joins the one before it.

    Args:
        order: int64 ``(N,)``: all images.
        batch_size: Images per step.
        min_images: At least 2, because batch normalisation cannot train on a single image.
    """
    steps = list(order.split(batch_size))
    if len(steps) > 1 and len(steps[-1]) < min_images:
        steps[-2:] = [torch.cat(steps[-2:])]
    return steps


def shard(count: int, rank: int, world_size: int) -> slice:
    """Returns the slice of `count` items that belongs to a process; the sizes of two shards differ by at most one."""
    return slice(count * rank // world_size, count * (rank + 1) // world_size)
