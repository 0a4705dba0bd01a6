"""Batches for training and evaluation. What a batch holds is a pure function of the seed, the epoch and the step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from zoo.data.loading.augment import cut, cut_batch, normalise, vary
from zoo.data.loading.augment_params import Augmentation, draw, undrawn
from zoo.data.loading.pipeline import images_ahead
from zoo.data.loading.transfer import to_device
from zoo.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from zoo.data.loading.augment_params import Draws
    from zoo.data.loading.store import PhotoStore
    from zoo.preprocess import Preprocess


class Batch(NamedTuple):
    """What a network is given at a step.

    Attributes:
        images: float32 ``(N, 3, h, w)``, normalised, channels-last, on the device; or kept `zoo.plugins.contracts.Features`.
        labels: int64 ``(N,)``, on the device.
        share: Weight of this batch's mean loss in the mean over the whole step; less than 1 where a step's images are
            shared out among processes.
    """

    images: Any
    labels: Tensor
    share: float = 1.0


class TrainLoader:
    """Augmented batches of the training part, in a new order every epoch.

    A last batch of a single image joins the one before it: batch normalisation cannot learn from one. Where several
    processes share each step, order and draws are those of one process, and each is given its `share_of` every step;
    a last batch of fewer images than processes joins the one before it, too.

    Args:
        store: The photos.
        preprocess: The network's.
        augmentation: How photos are varied.
        batch_size: Images a step, those of all processes together.
        seed: Decides order and augmentation.
        device: Where the batches are made.
        rank: Number of this process, from 0.
        ranks: How many processes there are.
        views: Epoch e shows view (e - 1) mod `views` of every photo; None: each epoch draws anew.

    Raises:
        ConfigError: There are fewer photos, or images a step, than processes.
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
        rank: int = 0,
        ranks: int = 1,
        views: int | None = None,
    ) -> None:
        if min(batch_size, len(store)) < ranks:
            raise ConfigError(
                f"{min(batch_size, len(store))} images a step cannot be shared by {ranks} processes.",
                hint="Raise --batch-size, or use fewer processes.",
            )
        self.store = store
        self.preprocess = preprocess
        self.augmentation = augmentation
        self.batch_size = batch_size
        self.seed = seed
        self.device = device
        self.rank = rank
        self.ranks = ranks
        self.views = views
        self._labels = torch.from_numpy(store.labels())
        self._sizes = torch.from_numpy(store.sizes)

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return len(self._split(torch.arange(len(self.store))))

    def chunks(self, epoch: int) -> list[Tensor]:
        """Returns which photos each batch of an epoch holds, those of all processes: int64 ``(N,)`` on the CPU."""
        return self._split(torch.randperm(len(self.store), generator=generator_for(self.seed, epoch)))

    @property
    def images(self) -> int:
        """Images that this process is given at each step but the last of an epoch."""
        whole = self._split(torch.arange(len(self.store)))[0]
        return len(whole[share_of(len(whole), self.rank, self.ranks)])

    @property
    def least(self) -> int:
        """The fewest images that a process is given at a step."""
        return min(map(len, self._split(torch.arange(len(self.store))))) // self.ranks

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """Yields this process's share of each batch of an epoch, from step `start`."""
        chunks = self.chunks(epoch)[start:]
        parts = [share_of(len(chunk), self.rank, self.ranks) for chunk in chunks]
        view = None if self.views is None else self._draw_view((epoch - 1) % self.views)

        def draws_of(chunk: Tensor, step: int) -> Draws:
            return self._draw(chunk, generator_for(self.seed, epoch, step)) if view is None else view[chunk]

        plan = (
            # Drawn for the whole step: every process draws the same, and applies its part.
            (chunk[part], draws_of(chunk, step)[part])
            for step, (chunk, part) in enumerate(zip(chunks, parts, strict=True), start=start)
        )
        for batch, chunk in zip(self._batches(plan, self.augmentation), chunks, strict=True):
            yield batch._replace(share=len(batch.labels) / len(chunk))

    def view(self, number: int) -> Iterator[Batch]:
        """Yields augmented batches of this process's `share_of` all photos, in their order.

        Args:
            number: Of the view. It and the seed decide the draws of every photo, and nothing else does.
        """
        return self._in_order(self._draw_view(number), self.augmentation)

    def centred(self, *, flipped: bool = False) -> Iterator[Batch]:
        """Yields this process's `share_of` all photos, in their order, as evaluation would see them.

        Args:
            flipped: Whether they are mirrored.
        """
        return self._in_order(undrawn(self._sizes, self.preprocess, flipped=flipped), Augmentation())

    def _draw_view(self, number: int) -> Draws:
        return self._draw(torch.arange(len(self.store)), generator_for(self.seed, 0, number, 0))

    def _draw(self, indices: Tensor, generator: torch.Generator) -> Draws:
        return draw(self._sizes[indices], self.preprocess, self.augmentation, generator)

    def _in_order(self, draws: Draws, how: Augmentation) -> Iterator[Batch]:
        mine = torch.arange(len(self.store))[share_of(len(self.store), self.rank, self.ranks)]
        return self._batches(((indices, draws[indices]) for indices in mine.split(self.batch_size)), how)

    def _batches(self, plan: Iterable[tuple[Tensor, Draws]], how: Augmentation) -> Iterator[Batch]:
        for images, (indices, draws) in self._gathered(plan) if self.store.on_device else self._ahead(plan):
            varied = vary(images, draws, self.preprocess, how)
            yield Batch(normalise(varied, self.preprocess), to_device(self._labels[indices], self.device))

    def _ahead(self, plan: Iterable[tuple[Tensor, Draws]]) -> Iterator[tuple[Tensor, tuple[Tensor, Draws]]]:
        def make(known: tuple[Tensor, Draws], part: slice) -> NDArray[np.uint8]:
            indices, draws = known
            return cut((self.store[i] for i in indices[part].tolist()), draws[part], self.preprocess)

        counted = ((len(indices), (indices, draws)) for indices, draws in plan)
        return images_ahead(counted, make, threads=self.store.workers, device=self.device)

    def _gathered(self, plan: Iterable[tuple[Tensor, Draws]]) -> Iterator[tuple[Tensor, tuple[Tensor, Draws]]]:
        photos = self.store.on_device
        assert photos is not None
        for indices, draws in plan:
            starts, widths = photos.starts[indices], self._sizes[indices, 1]
            yield cut_batch(photos.pixels, starts, widths, draws, self.preprocess), (indices, draws)

    def _split(self, order: Tensor) -> list[Tensor]:
        return steps_of(order, self.batch_size, least=max(2, self.ranks))


class EvalLoader:
    """Batches of a part as evaluation sees it: resized and cropped exactly as everywhere else.

    Of several processes each is given its `share_of` the part: the outputs of all, one process after the other, are in
    the order of the photos.

    Args:
        store: Photos prepared by `zoo.data.loading.prepare.for_evaluation`.
        preprocess: The network's.
        batch_size: Images a batch.
        device: Where the batches go.
        rank: Number of this process, from 0.
        ranks: How many processes there are.
    """

    def __init__(
        self,
        store: PhotoStore,
        *,
        preprocess: Preprocess,
        batch_size: int,
        device: torch.device,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.store = store
        self.preprocess = preprocess
        self.batch_size = batch_size
        self.device = device
        self._mine = torch.arange(len(store))[share_of(len(store), rank, ranks)]
        self._labels = torch.from_numpy(store.labels())

    def __iter__(self) -> Iterator[Batch]:
        chunks = [chunk for chunk in self._mine.split(self.batch_size) if len(chunk)]
        for images, indices in self._gathered(chunks) if self.store.on_device else self._ahead(chunks):
            yield Batch(normalise(images, self.preprocess), to_device(self._labels[indices], self.device))

    def _ahead(self, chunks: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        def make(indices: Tensor, part: slice) -> NDArray[np.uint8]:
            return np.stack([self.store[i] for i in indices[part].tolist()])

        counted = ((len(chunk), chunk) for chunk in chunks)
        return images_ahead(counted, make, threads=self.store.workers, device=self.device)

    def _gathered(self, chunks: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        photos = self.store.on_device
        assert photos is not None
        pixels = photos.pixels.view(-1, *self.preprocess.size, 3)  # all of one size
        return ((pixels[to_device(chunk, self.device)].permute(0, 3, 1, 2), chunk) for chunk in chunks)


def steps_of(order: Tensor, batch_size: int, *, least: int = 2) -> list[Tensor]:
    """Returns the images of each step of an epoch; a last one of fewer than `least` joins the one before it.

    Args:
        order: int64 ``(N,)``: all images.
        batch_size: Images a step.
        least: Images; of a single one batch normalisation cannot learn.
    """
    steps = list(order.split(batch_size))
    if len(steps) > 1 and len(steps[-1]) < least:
        steps[-2:] = [torch.cat(steps[-2:])]
    return steps


def share_of(count: int, rank: int, ranks: int) -> slice:
    """Returns which of `count` things in a row belong to process `rank` of `ranks`; shares differ by one at most."""
    return slice(count * rank // ranks, count * (rank + 1) // ranks)


def generator_for(seed: int, *path: int) -> torch.Generator:
    """Returns a generator whose draws depend on the seed and a path of numbers (epoch, step), and on nothing else."""
    # A spawn key tells (1,) from (1, 0), as entropy would not: an epoch's order is no batch's augmentation.
    state = np.random.SeedSequence(seed, spawn_key=path).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 ^ int(state[1]))
