"""Keeps decoded photos: each is decoded once, and kept as uint8 while the memory budget lasts."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from zoo.data.image import decode, preprocess
from zoo.errors import DataError, ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from zoo.specs import Preprocess, Sample

    Prepare = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]

# Photos decoded at a time and thread: enough to keep every thread busy, few enough to report progress.
_CHUNK = 8
# What a machine that does not tell its memory is taken to have.
_UNKNOWN_MEMORY = 4 << 30
_MEMINFO = Path("/proc/meminfo")
_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


def default_budget() -> int:
    """Returns half of the memory that is to be had, in bytes, be it a machine's or a container's."""
    try:
        # Not what is free: the photos that were just read fill the page cache, which gives way.
        available = _MEMINFO.read_text(encoding="ascii").partition("MemAvailable:")[2].split()[0]
        memory = int(available) << 10
    except (OSError, IndexError):  # Windows and macOS do not tell
        memory = _UNKNOWN_MEMORY
    with contextlib.suppress(OSError, ValueError):  # no container, or one without a limit ("max")
        memory = min(memory, int(_CONTAINER_LIMIT.read_text(encoding="ascii")))
    return memory // 2


def for_evaluation(spec: Preprocess) -> Prepare:
    """Returns what makes a photo exactly the network's input: uint8 ``(h, w, 3)`` of `spec.size`."""
    return partial(preprocess, spec=spec)


def with_room_for_crops(spec: Preprocess, *, crop_scale: float) -> Prepare:
    """Returns what shrinks a large photo, but leaves its smallest random crop about as sharp as the network's input.

    A square crop of `crop_scale` of the area then still has the input's number of pixels, up to 1.75 times the side.
    """
    side = max(spec.resize, round(min(spec.size) * min(crop_scale**-0.5, 1.75)), max(spec.size))

    def prepare(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = image.shape[:2]
        if min(height, width) <= side:
            return image
        from PIL import Image

        scale = side / min(height, width)
        size = (round(width * scale), round(height * scale))
        return np.array(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))

    return prepare


class PhotoStore:
    """The photos of one part of a dataset, decoded and prepared.

    Args:
        samples: What to decode.
        prepare: Makes of a decoded photo uint8 ``(H, W, 3)`` what is kept of it.
        budget: Bytes to keep at most; photos beyond it are decoded again each time they are asked for.
        workers: Threads that decode.

    Attributes:
        samples: The readable ones of `samples`, in their order, once `fill` has run.
        sizes: int64 ``(len, 2)``: height and width of each, prepared.
        kept: How many of them are in memory.
        workers: Threads that decode.
    """

    def __init__(self, samples: Sequence[Sample], *, prepare: Prepare, budget: int, workers: int) -> None:
        self.samples = list(samples)
        self.kept = 0
        self._prepare = prepare
        self._budget = budget
        self.workers = workers
        self.sizes = torch.zeros(0, 2, dtype=torch.int64)
        self._photos: list[NDArray[np.uint8] | None] = [None] * len(self.samples)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Returns a photo, uint8 ``(H, W, 3)``, prepared.

        Raises:
            ImageError: The photo is no longer readable.
        """
        photo = self._photos[index]
        return self._load(self.samples[index]) if photo is None else photo

    def labels(self) -> NDArray[np.int64]:
        """Returns the labels of `samples`, ``(len,)``."""
        return np.array([sample.label for sample in self.samples], dtype=np.int64)

    def fill(self, progress: Callable[[int, int], None]) -> list[ImageError]:
        """Decodes every photo once; unreadable ones are dropped.

        Args:
            progress: Called with how many photos are done, and of how many.

        Returns:
            One error a dropped photo.

        Raises:
            DataError: No photo is readable.
        """
        outcomes: list[NDArray[np.uint8] | ImageError | None] = []
        sizes: list[tuple[int, ...]] = []
        spent = 0
        with ThreadPoolExecutor(self.workers) as pool:
            step = _CHUNK * self.workers
            for start in range(0, len(self.samples), step):
                for outcome in pool.map(self._attempt, self.samples[start : start + step]):
                    size = 0 if isinstance(outcome, ImageError) else outcome.nbytes
                    fits = spent + size <= self._budget
                    outcomes.append(outcome if fits or isinstance(outcome, ImageError) else None)
                    spent += size if fits else 0
                    if not isinstance(outcome, ImageError):
                        sizes.append(outcome.shape[:2])
                progress(len(outcomes), len(self.samples))
        failures = [outcome for outcome in outcomes if isinstance(outcome, ImageError)]
        if failures and len(failures) == len(self.samples):
            raise DataError(f"None of {len(failures)} photos is readable; the first: {failures[0].message}")
        readable = [(s, o) for s, o in zip(self.samples, outcomes, strict=True) if not isinstance(o, ImageError)]
        self.samples = [sample for sample, _ in readable]
        self._photos = [photo for _, photo in readable]
        self.sizes = torch.tensor(sizes, dtype=torch.int64).view(-1, 2)
        self.kept = sum(photo is not None for photo in self._photos)
        return failures

    def _load(self, sample: Sample) -> NDArray[np.uint8]:
        return self._prepare(decode(sample.source, name=sample.name))

    def _attempt(self, sample: Sample) -> NDArray[np.uint8] | ImageError:
        try:
            return self._load(sample)
        except ImageError as error:
            return error
