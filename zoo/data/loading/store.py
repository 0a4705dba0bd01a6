"""The decoded photos of one split: each is decoded once, or again on every access if there is no room to cache it."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zoo.data.images.decode import decode
from zoo.data.loading.pixel_buffer import NOT_STORED, PixelBuffer
from zoo.data.loading.pixel_file import MappedPixels
from zoo.data.targets import make_targets
from zoo.errors import DataError, ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from zoo.data.loading.pixel_file import PixelFile
    from zoo.data.loading.transform import Transform
    from zoo.plugins.specs import Sample

_AHEAD = 2  # photos per thread that are being decoded or wait to be stored: keeps threads busy with little memory
_REPORT = 16  # photos between two progress reports
_BLOCK = 1 << 24  # pixels copied to a device at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePixels:
    """All photos of a split in the memory of a device.

    Attributes:
        pixels: uint8 ``(P, 3)``: of all photos, one after the other.
        starts: int64 ``(N,)`` on the CPU: where each photo starts, in pixels.
    """

    pixels: Tensor
    starts: Tensor


class PhotoStore:
    """The photos of one split, decoded and transformed. `zoo.data.loading.cache.PhotoCache` creates and fills it.

    Args:
        samples: The photos.
        transform: Applied to each decoded photo.
        workers: Number of decoding threads.
        multi_hot: As in `zoo.data.loading.cache.PhotoCache`.

    Attributes:
        samples: The readable ones of `samples`, in their order, once the store is filled.
        sizes: int64 ``(len, 2)``: height and width of each transformed photo.
        failures: One error per unreadable sample.
        on_device: The photos on a device, if they were copied there; then none are cached elsewhere.
        workers: Number of decoding threads.
    """

    def __init__(
        self, samples: Sequence[Sample], *, transform: Transform, workers: int, multi_hot: int | None = None
    ) -> None:
        self.samples = list(samples)
        self.sizes = np.zeros((0, 2), np.int64)
        self.failures: list[ImageError] = []
        self.on_device: DevicePixels | None = None
        self.workers = workers
        self._transform = transform
        self._multi_hot = multi_hot
        self._pixels: NDArray[np.uint8] | MappedPixels = np.zeros((0, 3), np.uint8)
        self._starts = np.full(len(self.samples), NOT_STORED)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Returns a transformed photo, uint8 ``(H, W, 3)``; do not write to it.

        Raises:
            ImageError: The photo is not cached and is no longer readable.
        """
        start = int(self._starts[index])
        if start == NOT_STORED:
            return self._load(self.samples[index])
        height, width = self.sizes[index].tolist()
        return self._pixels[start : start + height * width].reshape(height, width, 3)

    @property
    def tier(self) -> str:
        """Where photos are cached: ``device``, ``memory``, ``disk``, or ``off`` for nowhere."""
        if self.on_device:
            return "device"
        if isinstance(self._pixels, MappedPixels):
            return "disk"
        return "memory" if len(self._pixels) else "off"

    @property
    def cached(self) -> int:
        """Number of cached photos."""
        return len(self) if self.on_device else int((self._starts != NOT_STORED).sum())

    @property
    def nbytes(self) -> int:
        """Size of the cached photos in bytes."""
        return 3 * (len(self._pixels) if self.on_device is None else len(self.on_device.pixels))

    def labels(self) -> NDArray[np.int64] | NDArray[np.uint8]:
        """Returns the labels of `samples`: int64 ``(len,)``, or multi-hot uint8 ``(len, classes)``."""
        return make_targets(self.samples, classes=self._multi_hot or 0, multi_label=self._multi_hot is not None)

    def fill(
        self, buffer: PixelBuffer, progress: Callable[[int, int], None], *, threads: int | None = None
    ) -> Path | None:
        """Decodes every photo into a buffer, and drops the unreadable ones.

        Args:
            buffer: Where the photos go.
            progress: Called with the number of photos done, and of all.
            threads: Number of decoding threads for this call; `workers` by default.

        Returns:
            The file, if the buffer wrote one; pass it to `adopt` next.

        Raises:
            DataError: No photo is readable.
        """
        starts, sizes, unreadable = [], [], {}
        try:
            for place, outcome in enumerate(self._decode_all(threads or self.workers, progress)):
                if isinstance(outcome, ImageError):
                    unreadable[place] = outcome.message
                else:
                    starts.append(buffer.append(outcome))
                    sizes.append(outcome.shape[:2])
            self._check_any_readable(unreadable)
            pixels = buffer.finish(unreadable)
        except BaseException:
            buffer.discard_file()
            raise
        if buffer.file:
            return buffer.file
        self._drop(unreadable)
        self.sizes = np.array(sizes, np.int64).reshape(-1, 2)
        self._pixels = pixels
        self._starts = np.array(starts, np.int64)
        self._starts[self._starts + self.sizes.prod(axis=1) > len(pixels)] = NOT_STORED
        return None

    def adopt(self, file: PixelFile) -> None:
        """Uses the photos of a file, and drops the samples that are unreadable according to it."""
        self._drop(file.unreadable)
        self.sizes = file.sizes
        self._pixels = file.pixels
        counts = file.sizes.prod(axis=1)
        self._starts = counts.cumsum() - counts

    def move_to(self, device: object) -> None:
        """Moves the photos to a device; all of them must be cached."""
        import torch

        pixels = torch.empty((len(self._pixels), 3), dtype=torch.uint8, device=device)  # type: ignore[call-overload]
        for start in range(0, len(pixels), _BLOCK):
            pixels[start : start + _BLOCK] = torch.from_numpy(self._pixels[start : start + _BLOCK])
        self.on_device = DevicePixels(pixels=pixels, starts=torch.from_numpy(self._starts))
        self._forget()

    def release(self) -> None:
        """Releases all cached photos; later accesses decode them again."""
        self.on_device = None
        self._forget()

    def _forget(self) -> None:
        self._pixels = np.zeros((0, 3), np.uint8)
        self._starts = np.full(len(self), NOT_STORED)

    def _check_any_readable(self, unreadable: dict[int, str]) -> None:
        if unreadable and len(unreadable) == len(self.samples):
            first = next(iter(unreadable.values()))
            raise DataError(f"None of the {len(unreadable)} photos can be read; the first: {first}")

    def _drop(self, unreadable: dict[int, str]) -> None:
        self.failures = [ImageError(message) for message in unreadable.values()]
        self.samples = [sample for place, sample in enumerate(self.samples) if place not in unreadable]

    def _decode_all(
        self, threads: int, progress: Callable[[int, int], None]
    ) -> Iterator[NDArray[np.uint8] | ImageError]:
        pending: deque[Future[NDArray[np.uint8] | ImageError]] = deque()
        done, total = 0, len(self.samples)
        with ThreadPoolExecutor(threads) as pool:
            for number, sample in enumerate(self.samples, start=1):
                pending.append(pool.submit(self._try_load, sample))
                while len(pending) > _AHEAD * threads or (pending and number == total):
                    yield pending.popleft().result()
                    done += 1
                    if done % _REPORT == 0 or done == total:
                        progress(done, total)

    def _load(self, sample: Sample) -> NDArray[np.uint8]:
        return self._transform(decode(sample.source, name=sample.name, min_side=self._transform.min_side))

    def _try_load(self, sample: Sample) -> NDArray[np.uint8] | ImageError:
        try:
            return self._load(sample)
        except ImageError as error:
            return error
