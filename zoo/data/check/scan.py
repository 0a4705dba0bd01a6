"""Reads every photo of a dataset once: hashes it and, on request, decodes it."""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from zoo.data.check.header import read_header
from zoo.data.check.perceptual_hash import MIN_SIDE, hash_photo
from zoo.data.check.report import SPLITS, CheckedPhoto
from zoo.data.images.decode import open_image, read_bytes
from zoo.errors import ImageError
from zoo.events import no_progress
from zoo.utils.machine import usable_cpus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zoo.events import Progress
    from zoo.plugins.specs import ImageSet, Sample

_CHUNK = 32  # photos per task
_AHEAD = 4  # waiting chunks per thread: a short queue, so that an interrupt takes effect soon

# Split, names of the labels and sample of a photo.
LabelledSample = tuple[str, tuple[str, ...], "Sample"]


def scan_images(
    images: ImageSet, *, decode: bool, threads: int | None = None, progress: Progress = no_progress
) -> list[CheckedPhoto]:
    """Returns every photo with its properties: test first, then validation, then training, each in order.

    Args:
        images: The dataset.
        decode: Whether to decode each photo, which proves that it is intact and gives its perceptual hash; a JPEG is
            decoded at down to an eighth of its size. Otherwise only header and digest are read.
        threads: Number of threads; by default the number of processors.
        progress: Called as photos are done.
    """
    listed = [
        (split, tuple(images.classes[label] for label in sample.labels), sample)
        for split in SPLITS
        for sample in getattr(images, split)
    ]
    chunks = [listed[start : start + _CHUNK] for start in range(0, len(listed), _CHUNK)]
    photos: list[CheckedPhoto] = []
    for done in _scan_chunks(chunks, decode=decode, threads=threads or usable_cpus()):
        photos += done
        progress("scan photos", len(photos), len(listed))
    return photos


def scan_photo(split: str, labels: tuple[str, ...], sample: Sample, *, decode: bool) -> CheckedPhoto:
    """Returns one photo with its properties; arguments as in `scan_images`."""
    try:
        data = read_bytes(sample.source, name=sample.name)
    except ImageError as error:
        return CheckedPhoto(name=sample.name, split=split, labels=labels, source=sample.source, error=error.message)
    perceptual_hash, reason = None, ""
    if decode:
        try:
            perceptual_hash = hash_photo(open_image(data, name=sample.name, min_side=MIN_SIDE, approximate=True))
        except ImageError as error:
            reason = error.message
    return CheckedPhoto(
        name=sample.name,
        split=split,
        labels=labels,
        source=sample.source,
        size=len(data),
        digest=hashlib.sha256(data).hexdigest(),
        header=read_header(data),
        perceptual_hash=perceptual_hash,
        error=reason,
    )


def _scan_chunks(
    chunks: Sequence[Sequence[LabelledSample]], *, decode: bool, threads: int
) -> Iterator[list[CheckedPhoto]]:
    """Yields the photos of each chunk in order. Reading, hashing and decoding all release the GIL."""

    def scan_chunk(chunk: Sequence[LabelledSample]) -> list[CheckedPhoto]:
        return [scan_photo(split, labels, sample, decode=decode) for split, labels, sample in chunk]

    coming = iter(chunks)
    with ThreadPoolExecutor(threads) as pool:
        waiting = deque(
            pool.submit(scan_chunk, chunk) for _, chunk in zip(range(threads * _AHEAD), coming, strict=False)
        )
        try:
            while waiting:
                done = waiting.popleft().result()
                if (chunk := next(coming, None)) is not None:
                    waiting.append(pool.submit(scan_chunk, chunk))
                yield done
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
