"""The decoded photos of one part of a dataset: each is decoded once, or, where it is not kept, each time anew."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zoo.data.images.decode import decode
from zoo.data.loading.pixel_buffer import NOWHERE, Shelf
from zoo.data.loading.pixel_file import MappedPixels
from zoo.errors import DataError, ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from zoo.data.loading.pixel_file import Pack
    from zoo.data.loading.prepare import Prepare
    from zoo.plugins.specs import Sample

_AHEAD = 2  # photos a thread that are being decoded, or wait to be put away: busy threads, and little memory
_REPORT = 16  # photos between two reports of progress
_BLOCK = 1 << 24  # pixels copied to a device at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDevice:
    """All photos of a part in the memory of a device.

    Attributes:
        pixels: uint8 ``(P, 3)``: of all photos, one after the other.
        starts: int64 ``(N,)`` on the CPU: where each begins, in pixels.
    """

    pixels: Tensor
    starts: Tensor


class PhotoStore:
    """The photos of one part of a dataset, decoded and prepared; `zoo.data.loading.cache.PhotoCache` makes and fills it.

    Args:
        samples: What to decode.
        prepare: Makes of a decoded photo what is kept of it.
        workers: Threads that decode.

    Attributes:
        samples: The readable ones of `samples`, in their order, once the store is filled.
        sizes: int64 ``(len, 2)``: height and width of each, prepared.
        failures: One error an unreadable sample.
        on_device: The photos once more, where they were copied to a device; then no others are kept.
        workers: Threads that decode.
    """

    def __init__(self, samples: Sequence[Sample], *, prepare: Prepare, workers: int) -> None:
        self.samples = list(samples)
        self.sizes = np.zeros((0, 2), np.int64)
        self.failures: list[ImageError] = []
        self.on_device: OnDevice | None = None
        self.workers = workers
        self._prepare = prepare
        self._pixels: NDArray[np.uint8] | MappedPixels = np.zeros((0, 3), np.uint8)
        self._starts = np.full(len(self.samples), NOWHERE)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Returns a photo, uint8 ``(H, W, 3)``, prepared; never to be written to.

        Raises:
            ImageError: The photo is not kept, and no longer readable.
        """
        start = int(self._starts[index])
        if start == NOWHERE:
            return self._load(self.samples[index])
        height, width = self.sizes[index].tolist()
        return self._pixels[start : start + height * width].reshape(height, width, 3)

    @property
    def tier(self) -> str:
        """Where photos are kept: ``device``, ``memory``, ``disk``, or ``off`` for nowhere."""
        if self.on_device:
            return "device"
        if isinstance(self._pixels, MappedPixels):
            return "disk"
        return "memory" if len(self._pixels) else "off"

    @property
    def kept(self) -> int:
        """How many photos need not be decoded again."""
        return len(self) if self.on_device else int((self._starts != NOWHERE).sum())

    @property
    def nbytes(self) -> int:
        """How many bytes those take."""
        return 3 * (len(self._pixels) if self.on_device is None else len(self.on_device.pixels))

    def labels(self) -> NDArray[np.int64]:
        """Returns the labels of `samples`, ``(len,)``."""
        return np.array([sample.label for sample in self.samples], dtype=np.int64)

    def fill(self, shelf: Shelf, progress: Callable[[int, int], None], *, threads: int | None = None) -> Path | None:
        """Decodes every photo once; unreadable ones are dropped, and the others are put on a shelf.

        Args:
            shelf: Where they are put.
            progress: Called with how many photos are done, and of how many.
            threads: That decode, for this once; `workers` by default.

        Returns:
            The file that the shelf put them in, if it did: it is to be adopted next.

        Raises:
            DataError: No photo is readable.
        """
        starts, sizes, unreadable = [], [], {}
        try:
            for place, outcome in enumerate(self._decoded(threads or self.workers, progress)):
                if isinstance(outcome, ImageError):
                    unreadable[place] = outcome.message
                else:
                    starts.append(shelf.put(outcome))
                    sizes.append(outcome.shape[:2])
            self._check_any(unreadable)
            kept = shelf.finish(unreadable)
        except BaseException:
            shelf.abandon()
            raise
        if shelf.file:
            return shelf.file
        self._drop(unreadable)
        self.sizes = np.array(sizes, np.int64).reshape(-1, 2)
        self._pixels = kept
        self._starts = np.array(starts, np.int64)
        self._starts[self._starts + self.sizes.prod(axis=1) > len(kept)] = NOWHERE
        return None

    def adopt(self, pack: Pack) -> None:
        """Takes the photos of a file for its own; drops the samples that are not in it."""
        self._drop(pack.unreadable)
        self.sizes = pack.sizes
        self._pixels = pack.pixels
        counts = pack.sizes.prod(axis=1)
        self._starts = counts.cumsum() - counts

    def move_to(self, device: object) -> None:
        """Copies all photos to a device and lets go of those here; all of them are kept when this is called."""
        import torch

        pixels = torch.empty((len(self._pixels), 3), dtype=torch.uint8, device=device)  # type: ignore[call-overload]
        for start in range(0, len(pixels), _BLOCK):
            pixels[start : start + _BLOCK] = torch.from_numpy(self._pixels[start : start + _BLOCK])
        self.on_device = OnDevice(pixels=pixels, starts=torch.from_numpy(self._starts))
        self._forget()

    def release(self) -> None:
        """Lets go of all photos that are kept; any that is asked for later is decoded again."""
        self.on_device = None
        self._forget()

    def _forget(self) -> None:
        self._pixels = np.zeros((0, 3), np.uint8)
        self._starts = np.full(len(self), NOWHERE)

    def _check_any(self, unreadable: dict[int, str]) -> None:
        if unreadable and len(unreadable) == len(self.samples):
            first = next(iter(unreadable.values()))
            raise DataError(f"None of {len(unreadable)} photos is readable; the first: {first}")

    def _drop(self, unreadable: dict[int, str]) -> None:
        self.failures = [ImageError(message) for message in unreadable.values()]
        self.samples = [sample for place, sample in enumerate(self.samples) if place not in unreadable]

    def _decoded(self, threads: int, progress: Callable[[int, int], None]) -> Iterator[NDArray[np.uint8] | ImageError]:
        pending: deque[Future[NDArray[np.uint8] | ImageError]] = deque()
        done, total = 0, len(self.samples)
        with ThreadPoolExecutor(threads) as pool:
            for number, sample in enumerate(self.samples, start=1):
                pending.append(pool.submit(self._attempt, sample))
                while len(pending) > _AHEAD * threads or (pending and number == total):
                    yield pending.popleft().result()
                    done += 1
                    if done % _REPORT == 0 or done == total:
                        progress(done, total)

    def _load(self, sample: Sample) -> NDArray[np.uint8]:
        return self._prepare(decode(sample.source, name=sample.name, min_side=self._prepare.enough))

    def _attempt(self, sample: Sample) -> NDArray[np.uint8] | ImageError:
        try:
            return self._load(sample)
        except ImageError as error:
            return error
