"""Finds the photos whose signatures are close, among a hundred thousand within seconds.

All pairs are compared, in blocks that fit the processor's cache: XOR and a count of bits run at several hundred million
pairs a second. An index (Norouzi et al. 2012, https://arxiv.org/abs/1307.2982) would save seconds of the minutes that
decoding takes, and find no more.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from zoo.data.check.signature import BITS
from zoo.events import no_progress
from zoo.utils.machine import usable_cpus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zoo.data.check.signature import Signature
    from zoo.events import Progress

# Bits in which near duplicates may differ. Up to the second number nothing more is asked; up to the first, that their
# colours are so many levels of 255 apart on the average, or are those of the other but for brightness and contrast.
RADIUS, _SURE = 24, 8
_APART, _CORRELATION = 16, 0.95
_CHANNELS = 8 * 9 * 3
_ROWS, _COLUMNS = 64, 1 << 12  # of a block: 2 MB of numbers
_NEIGHBOURS = 16  # kept of each photo, the nearest: thousands of like photos make no millions of pairs


class Close(NamedTuple):
    """Two photos with close signatures.

    Attributes:
        one: Index into the first list.
        other: Index into the second.
        distance: Bits of 128 in which the hashes differ.
    """

    one: int
    other: int
    distance: int


class Signatures:
    """Many signatures, ready to be searched.

    Args:
        signatures: Of the photos, in their order.
    """

    def __init__(self, signatures: Sequence[Signature]) -> None:
        self.dhash = np.array([each.dhash for each in signatures], np.uint64)
        self.phash = np.array([each.phash for each in signatures], np.uint64)
        colours = np.frombuffer(b"".join(each.colours for each in signatures), np.uint8)
        self.colours = colours.reshape(len(signatures), _CHANNELS)

    def __len__(self) -> int:
        return len(self.dhash)


def close_pairs(
    first: Signatures,
    second: Signatures | None = None,
    *,
    radius: int = RADIUS,
    threads: int | None = None,
    progress: Progress = no_progress,
) -> list[Close]:
    """Returns which photos of a list are close to which of another; with one list, each pair of it once.

    Args:
        first: Signatures.
        second: Those they are compared with; by default `first`, later ones with earlier ones.
        radius: Bits in which the two hashes together may differ, of 128.
        threads: How many; as many as there are processors by default.
        progress: Called as the photos of `first` are done.

    Returns:
        In the order of `first`. Of more than sixteen close to one of it, the sixteen closest.
    """
    other = first if second is None else second
    starts = range(0, len(first), _ROWS)

    def work(start: int) -> list[Close]:
        rows = np.arange(start, min(start + _ROWS, len(first)))
        return _close_to(rows, first, other, radius=min(radius, BITS), earlier=second is None)

    found: list[Close] = []
    pool = ThreadPoolExecutor(threads or usable_cpus())
    try:
        for start, close in zip(starts, pool.map(work, starts), strict=True):
            found += close
            progress("compare photos", min(start + _ROWS, len(first)), len(first))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return found


def _close_to(
    rows: NDArray[np.int64], first: Signatures, other: Signatures, *, radius: int, earlier: bool
) -> list[Close]:
    end = int(rows[-1]) if earlier else len(other)  # the last row is compared with all before it
    hits = [
        _hits(rows, slice(start, min(start + _COLUMNS, end)), first, other, radius) for start in range(0, end, _COLUMNS)
    ]
    if not hits:
        return []
    one, two, distance = (np.concatenate(column) for column in zip(*hits, strict=True))
    if earlier:
        wanted = two < one
        one, two, distance = one[wanted], two[wanted], distance[wanted]
    one, two, distance = _nearest(one, two, distance)
    same = (distance <= _SURE) | _alike(first.colours[one], other.colours[two])
    return [Close(*close) for close in zip(*(each[same].tolist() for each in (one, two, distance)), strict=True)]


def _alike(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Returns of which rows the colours are about the same, ``(n, 216)`` each."""
    a, b = one.astype(np.float32), other.astype(np.float32)
    apart = np.abs(a - b).mean(axis=1)
    a, b = (each - each.mean(axis=1, keepdims=True) for each in (a, b))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    alike: NDArray[np.bool_] = (apart <= _APART) | ((a * b).sum(axis=1) > _CORRELATION * lengths)
    return alike


def _hits(
    rows: NDArray[np.int64], columns: slice, first: Signatures, other: Signatures, radius: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    apart = np.bitwise_count(first.dhash[rows, None] ^ other.dhash[None, columns])
    one, two = np.nonzero(apart <= radius)
    distance = apart[one, two] + np.bitwise_count(first.phash[rows[one]] ^ other.phash[columns][two])
    close = distance <= radius
    return rows[one[close]], two[close] + columns.start, distance[close]


def _nearest(
    one: NDArray[np.int64], two: NDArray[np.int64], distance: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """Returns the nearest few of each row, in the order of the rows."""
    order = np.lexsort((two, distance, one))
    one, two, distance = one[order], two[order], distance[order]
    few = np.arange(len(one)) - np.searchsorted(one, one) < _NEIGHBOURS
    return one[few], two[few], distance[few]
