"""Hashes that say whether two runs saw the same data, and if not, which photos are others."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from zoo.errors import ImageError
from zoo.events import no_progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoo.events import Progress
    from zoo.plugins.specs import ImageSet, Sample

_THREADS = 8


def fingerprint(images: ImageSet, *, progress: Progress = no_progress) -> str:
    """Returns the SHA-256, in hex, of classes, parts, names, labels and file contents.

    The order of the samples does not count, nor where the files lie.

    Raises:
        ImageError: A file cannot be read.
    """
    return fingerprints(images, progress=progress)[0]


def fingerprints(
    images: ImageSet, *, known: Mapping[str, str] | None = None, progress: Progress = no_progress
) -> tuple[str, dict[str, list[str]]]:
    """Returns `fingerprint`, and for each part a short hash of label and content of every sample, in their order.

    Args:
        images: The dataset.
        known: By name, the SHA-256, in hex, of photos that were read just now; they are not read again.
        progress: Called as the photos are done.

    Raises:
        ImageError: A file cannot be read.
    """
    parts = {"train": images.train, "val": images.val, "test": images.test}
    total, done = sum(map(len, parts.values())), 0
    listed: dict[str, list[tuple[str, int, str]]] = {}
    short: dict[str, list[str]] = {}
    known = known or {}
    with ThreadPoolExecutor(_THREADS) as pool:
        for part, samples in parts.items():
            listed[part] = []
            for sample, digest in zip(
                samples, pool.map(lambda each: known.get(each.name) or _digest(each), samples), strict=True
            ):
                listed[part].append((sample.name, sample.label, digest))
                done += 1
                progress("fingerprint of the data", done, total)
            short[part] = [_short(label, digest) for _, label, digest in listed[part]]
            listed[part].sort()
    text = json.dumps({"classes": images.classes, **listed}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest(), short


def short_digest(sample: Sample) -> str:
    """Returns the short hash of one sample, as `fingerprints` gives it.

    Raises:
        ImageError: The file cannot be read.
    """
    return _short(sample.label, _digest(sample))


def _short(label: int, digest: str) -> str:
    """Returns 8 hex digits: of the photos of one name, two are told apart, and a list of them stays short."""
    return hashlib.sha256(f"{label} {digest}".encode()).hexdigest()[:8]


def _digest(sample: Sample) -> str:
    source = sample.source
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    try:
        with source.open("rb") as file:  # in pieces: it may be larger than any photo, and than the memory
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ImageError(
            f"{sample.name}: cannot be read ({error.strerror}).", hint=f"Check {error.filename}."
        ) from None
