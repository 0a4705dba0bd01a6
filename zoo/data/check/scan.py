"""Looks at every photo of a dataset once: reads it, hashes it, and, if asked to, decodes it."""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from zoo.data.check.header import read_header
from zoo.data.check.report import PARTS, Photo
from zoo.data.images.decode import open_image, read_bytes
from zoo.errors import ImageError
from zoo.events import no_progress
from zoo.utils.machine import usable_cpus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zoo.events import Progress
    from zoo.plugins.specs import ImageSet, Sample

_CHUNK = 32  # photos a thread takes at a time
_AHEAD = 4  # chunks a thread that wait: an interrupt is answered soon, and little is queued

# A part, the name of a class, and a photo of it.
Labelled = tuple[str, str, "Sample"]


def scan(
    images: ImageSet, *, decode: bool, threads: int | None = None, progress: Progress = no_progress
) -> list[Photo]:
    """Returns what can be known of every photo, test first, then validation, then training, each in its order.

    Args:
        images: The dataset.
        decode: Whether to decode each photo, as far as it takes to recognise it and to know that it is whole: a JPEG
            at down to an eighth of its size. Otherwise its header and its digest are all.
        threads: How many; as many as there are processors by default.
        progress: Called as the photos are done.
    """
    listed = [(part, images.classes[sample.label], sample) for part in PARTS for sample in getattr(images, part)]
    chunks = [listed[start : start + _CHUNK] for start in range(0, len(listed), _CHUNK)]
    photos: list[Photo] = []
    for done in _in_threads(chunks, decode=decode, threads=threads or usable_cpus()):
        photos += done
        progress("look at photos", len(photos), len(listed))
    return photos


def look_at(part: str, label: str, sample: Sample, *, decode: bool) -> Photo:
    """Returns what can be known of one photo; arguments are those of `scan`."""
    try:
        data = read_bytes(sample.source, name=sample.name)
    except ImageError as error:
        return Photo(name=sample.name, part=part, label=label, source=sample.source, error=error.message)
    signature, reason = None, ""
    if decode:
        from zoo.data.check.signature import ENOUGH, sign

        try:
            signature = sign(open_image(data, name=sample.name, min_side=ENOUGH, approximate=True))
        except ImageError as error:
            reason = error.message
    return Photo(
        name=sample.name,
        part=part,
        label=label,
        source=sample.source,
        size=len(data),
        digest=hashlib.sha256(data).hexdigest(),
        header=read_header(data),
        signature=signature,
        error=reason,
    )


def _in_threads(chunks: Sequence[Sequence[Labelled]], *, decode: bool, threads: int) -> Iterator[list[Photo]]:
    """Yields the photos of each chunk in order. Reading, hashing and decoding all let go of Python's lock."""

    def work(chunk: Sequence[Labelled]) -> list[Photo]:
        return [look_at(part, label, sample, decode=decode) for part, label, sample in chunk]

    coming = iter(chunks)
    with ThreadPoolExecutor(threads) as pool:
        waiting = deque(pool.submit(work, chunk) for _, chunk in zip(range(threads * _AHEAD), coming, strict=False))
        try:
            while waiting:
                done = waiting.popleft().result()
                if (chunk := next(coming, None)) is not None:
                    waiting.append(pool.submit(work, chunk))
                yield done
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
