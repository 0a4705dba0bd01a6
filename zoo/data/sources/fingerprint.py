"""Hashes of a dataset: they show whether two runs used the same data, and which photos differ."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from zoo.errors import ImageError
from zoo.events import no_progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zoo.events import Progress
    from zoo.plugins.specs import ImageSet, Sample

_THREADS = 8


def fingerprint_images(
    images: ImageSet, *, known: Mapping[str, str] | None = None, progress: Progress = no_progress
) -> tuple[str, dict[str, list[str]]]:
    """Returns the fingerprint of a dataset, and for each split a short hash of every sample.

    The fingerprint is the SHA-256, in hex, of classes, splits, names, labels and file contents. It depends neither on
    the order of the samples nor on where the files are. The short hashes cover labels and content, in sample order.

    Args:
        images: The dataset.
        known: SHA-256 digests, in hex, by sample name; these files are not read again.
        progress: Called after each photo.

    Raises:
        ImageError: A file cannot be read.
    """
    splits = {"train": images.train, "val": images.val, "test": images.test}
    total, done = sum(map(len, splits.values())), 0
    rows: dict[str, list[tuple[str, int | tuple[int, ...], str]]] = {}
    short: dict[str, list[str]] = {}
    known = known or {}
    with ThreadPoolExecutor(_THREADS) as pool:
        for split, samples in splits.items():
            rows[split] = []
            digests = pool.map(lambda sample: known.get(sample.name) or _digest(sample), samples)
            for sample, digest in zip(samples, digests, strict=True):
                rows[split].append((sample.name, sample.label, digest))
                done += 1
                progress("fingerprint data", done, total)
            short[split] = [_shorten(label, digest) for _, label, digest in rows[split]]
            rows[split].sort()
    text = json.dumps({"classes": images.classes, **rows}, sort_keys=True)  # labels of a photo become a list
    return hashlib.sha256(text.encode()).hexdigest(), short


def hash_sample(sample: Sample) -> str:
    """Returns the short hash of one sample, as in `fingerprint_images`.

    Raises:
        ImageError: The file cannot be read.
    """
    return _shorten(sample.label, _digest(sample))


def find_changed(samples: Sequence[Sample], recorded: Mapping[str, str]) -> list[str]:
    """Returns the names of the samples whose content or label is not what was recorded.

    Files that cannot be read, and samples without a recorded hash, are left out.

    Args:
        samples: The samples.
        recorded: Short hashes, as in `fingerprint_images`, by sample name.
    """
    known = [sample for sample in samples if recorded.get(sample.name)]

    def is_changed(sample: Sample) -> bool:
        try:
            return hash_sample(sample) != recorded[sample.name]
        except ImageError:
            return False

    with ThreadPoolExecutor(_THREADS) as pool:
        return [sample.name for sample, changed in zip(known, pool.map(is_changed, known), strict=True) if changed]


def _shorten(label: int | tuple[int, ...], digest: str) -> str:
    """Returns 8 hex digits: enough to compare two photos of the same name, and short to store for every photo."""
    labels = f"[{','.join(map(str, label))}]" if isinstance(label, tuple) else str(label)
    return hashlib.sha256(f"{labels} {digest}".encode()).hexdigest()[:8]


def _digest(sample: Sample) -> str:
    source = sample.source
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    try:
        with source.open("rb") as file:  # in chunks: the file may be larger than the memory
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ImageError(
            f"{sample.name}: cannot be read ({error.strerror}).", hint=f"Check {error.filename}."
        ) from None
