"""Perceptual hashes: recognise a photo that was re-encoded, resized or slightly cropped.

dHash compares neighbours in rows of 9 x 8 grey values: Krawetz 2013, https://www.hackerfactor.com/blog/?/archives/529.
pHash compares the 8 x 8 lowest frequencies of a cosine transform with their median: Zauner 2010,
https://www.phash.org/docs/pubs/thesis_zauner.pdf. Either alone confuses different photos; both together hardly do. A
comparison of colours, which neither hash covers, removes the remaining false matches (docs/data.md has the figures).

All pairs are compared, in blocks that fit the processor's cache: XOR and bit counts run at several hundred million
pairs per second, so a hundred thousand photos take seconds. An index (Norouzi et al. 2012,
https://arxiv.org/abs/1307.2982) would save seconds of the minutes that decoding takes, and find the same pairs.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from zoo.events import no_progress
from zoo.utils.machine import usable_cpus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zoo.events import Progress

# The `min_side` of `zoo.data.images.decode.open_image` for hashing. With 32 the hashes of a photo and of a smaller copy
# differ by up to 13 bits of 128, with 64 by 6.
MIN_SIDE = 64
BITS = 128
_HEIGHT, _WIDTH = 32, 36  # of the grey image that both hashes start from: for dHash 8 x 9 blocks of 4 x 4 values
_FREQUENCIES = 8
_FLAT = 3.0  # grey levels of 255: a photo that varies less, in root mean square, looks like any other such photo
# Hashes of near duplicates differ by at most `RADIUS` bits. Up to `_SURE_RADIUS` bits this is enough; above, their
# colours must differ by at most `_MAX_COLOUR_DIFFERENCE` levels of 255 on average, or correlate (a change of brightness
# or contrast).
RADIUS, _SURE_RADIUS = 24, 8
_MAX_COLOUR_DIFFERENCE, _MIN_CORRELATION = 16, 0.95
_COLOUR_BYTES = 8 * 9 * 3
_BLOCK_ROWS, _BLOCK_COLUMNS = 64, 1 << 12  # 2 MB of numbers
_MAX_MATCHES = 16  # per photo, the closest: thousands of similar photos must not give millions of pairs


class PerceptualHash(NamedTuple):
    """Identifies the content of a photo.

    Attributes:
        dhash: 64 bits.
        phash: 64 bits.
        colours: The photo as 8 rows of 9 RGB values, 216 bytes.
    """

    dhash: int
    phash: int
    colours: bytes


class HashTable:
    """The hashes of many photos as arrays, ready for `find_matches`.

    Args:
        hashes: One per photo.
    """

    def __init__(self, hashes: Sequence[PerceptualHash]) -> None:
        self.dhash = np.array([each.dhash for each in hashes], np.uint64)
        self.phash = np.array([each.phash for each in hashes], np.uint64)
        colours = np.frombuffer(b"".join(each.colours for each in hashes), np.uint8)
        self.colours = colours.reshape(len(hashes), _COLOUR_BYTES)

    def __len__(self) -> int:
        return len(self.dhash)


class Match(NamedTuple):
    """Two photos with similar hashes.

    Attributes:
        first: Index into the first table.
        second: Index into the second table.
        distance: Bits of 128 in which the hashes differ.
    """

    first: int
    second: int
    distance: int


def hash_photo(photo: Image.Image) -> PerceptualHash | None:
    """Returns the hash of an upright photo, or None if it is nearly one even colour."""
    small = photo.resize((_WIDTH, _HEIGHT), Image.Resampling.BOX)
    grey = np.asarray(small.convert("L"), np.float32)
    if grey.std() < _FLAT:
        return None
    blocks = grey.reshape(8, 4, 9, 4).mean(axis=(1, 3))
    frequencies = (_COSINES_DOWN @ grey @ _COSINES_ACROSS.T).ravel()
    median = np.partition(frequencies[1:], 31)[31]  # without the first, which is the mean brightness
    return PerceptualHash(
        dhash=_pack_bits(blocks[:, 1:] > blocks[:, :-1]),
        phash=_pack_bits(frequencies > median),
        colours=small.resize((9, 8), Image.Resampling.BOX).tobytes(),
    )


def find_matches(
    first: HashTable,
    second: HashTable | None = None,
    *,
    radius: int = RADIUS,
    threads: int | None = None,
    progress: Progress = no_progress,
) -> list[Match]:
    """Returns the matches between two tables; with a single table, each pair of its photos once.

    Args:
        first: The photos to match.
        second: The photos to compare them with; by default the earlier ones of `first`.
        radius: Bits of 128 in which the two hashes together may differ.
        threads: Number of threads; by default the number of processors.
        progress: Called as photos of `first` are done.

    Returns:
        The matches in the order of `first`; at most the sixteen closest of each photo.
    """
    other = first if second is None else second
    starts = range(0, len(first), _BLOCK_ROWS)

    def match_block(start: int) -> list[Match]:
        rows = np.arange(start, min(start + _BLOCK_ROWS, len(first)))
        return _match_rows(rows, first, other, radius=min(radius, BITS), earlier=second is None)

    matches: list[Match] = []
    pool = ThreadPoolExecutor(threads or usable_cpus())
    try:
        for start, found in zip(starts, pool.map(match_block, starts), strict=True):
            matches += found
            progress("compare photos", min(start + _BLOCK_ROWS, len(first)), len(first))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return matches


def _cosines(length: int) -> NDArray[np.float32]:
    """Returns the first rows of the cosine transform DCT-II of a length, ``(8, length)``."""
    steps = np.outer(np.arange(_FREQUENCIES), np.arange(length) + 0.5)
    return np.cos(np.pi / length * steps).astype(np.float32)


_COSINES_DOWN, _COSINES_ACROSS = _cosines(_HEIGHT), _cosines(_WIDTH)


def _pack_bits(bits: NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _match_rows(
    rows: NDArray[np.int64], first: HashTable, other: HashTable, *, radius: int, earlier: bool
) -> list[Match]:
    end = int(rows[-1]) if earlier else len(other)  # the last row is compared with all rows before it
    blocks = [
        _compare_block(rows, slice(start, min(start + _BLOCK_COLUMNS, end)), first, other, radius)
        for start in range(0, end, _BLOCK_COLUMNS)
    ]
    if not blocks:
        return []
    one, two, distance = (np.concatenate(column) for column in zip(*blocks, strict=True))
    if earlier:
        before = two < one
        one, two, distance = one[before], two[before], distance[before]
    one, two, distance = _select_closest(one, two, distance)
    same = (distance <= _SURE_RADIUS) | _have_similar_colours(first.colours[one], other.colours[two])
    return [Match(*match) for match in zip(*(each[same].tolist() for each in (one, two, distance)), strict=True)]


def _have_similar_colours(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Returns for each row, ``(n, 216)``, whether the colours are about the same."""
    a, b = one.astype(np.float32), other.astype(np.float32)
    difference = np.abs(a - b).mean(axis=1)
    a, b = (each - each.mean(axis=1, keepdims=True) for each in (a, b))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    similar: NDArray[np.bool_] = (difference <= _MAX_COLOUR_DIFFERENCE) | (
        (a * b).sum(axis=1) > _MIN_CORRELATION * lengths
    )
    return similar


def _compare_block(
    rows: NDArray[np.int64], columns: slice, first: HashTable, other: HashTable, radius: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """Returns row, column and distance of each pair within the radius."""
    differing = np.bitwise_count(first.dhash[rows, None] ^ other.dhash[None, columns])
    one, two = np.nonzero(differing <= radius)
    distance = differing[one, two] + np.bitwise_count(first.phash[rows[one]] ^ other.phash[columns][two])
    close = distance <= radius
    return rows[one[close]], two[close] + columns.start, distance[close]


def _select_closest(
    one: NDArray[np.int64], two: NDArray[np.int64], distance: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """Returns the closest matches of each row, in the order of the rows."""
    order = np.lexsort((two, distance, one))
    one, two, distance = one[order], two[order], distance[order]
    few = np.arange(len(one)) - np.searchsorted(one, one) < _MAX_MATCHES
    return one[few], two[few], distance[few]
