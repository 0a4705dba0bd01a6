"""Finds similar perceptual hashes among many, without comparing all pairs.

Each photo, in its eight orientations, is looked up among the parts of all photos: a cropped copy is found among the
parts of its original, and an original by the same lookup among the parts of a copy that gained a border. The index is
multi-probe locality-sensitive hashing (Lv et al. 2007, https://www.cs.princeton.edu/cass/papers/mplsh_vldb07.pdf): a
table's key has a bit for each of some frequencies, above or below the median, and a lookup also tries the keys with the
least certain bits inverted.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zoo.data.check.perceptual_hash import COLOUR_FREQUENCIES, FREQUENCIES, PARTS, transform_part, turn
from zoo.events import no_progress
from zoo.utils.machine import usable_cpus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zoo.data.check.perceptual_hash import Hashes, PerceptualHash
    from zoo.events import Progress

# The distance of two hashes is the angle between them: 0 to `SCALE` for 0 to 180 degrees. So many bits of `SCALE` would
# differ on average if the hashes were rounded to bits in the usual way (Charikar 2002, "SimHash").
SCALE = 128
# Near duplicates differ by at most `RADIUS`; by at most `_CHANGED_SHARE` of it if one is turned or a part of the other:
# there are hundreds of ways to turn and crop, so that different photos come closer by chance.
RADIUS, _CHANGED_SHARE = 22, 0.75
# Up to `_SURE_RADIUS` this is enough; above, their colours must differ by at most `_MAX_COLOUR_DIFFERENCE` levels of
# 255 in root mean square.
_SURE_RADIUS, _MAX_COLOUR_DIFFERENCE = 12, 10.0
# Finally more frequencies must correlate at least so much, the higher value again for turned photos and parts.
_MIN_CORRELATION, _MIN_CHANGED_CORRELATION = 0.8, 0.89
_MAX_MATCHES = 16  # per photo and group, the closest: thousands of similar photos must not give millions of pairs
_TABLES, _UNCERTAIN = 8, 4
_LOW = 5  # the largest sum of the two frequencies of a bit of the key
_MIN_BITS, _MAX_BITS = 8, 16
_MAX_BUCKET = 64  # hashes read per key: of photos that all look alike, a sample
_MAX_SIGNS = 22  # of 64 signs may differ: a quick test that few different photos pass, and no match fails
_SAMPLE = 10_000  # hashes for the medians
_BLOCK = 256  # photos looked up at once
_ORIENTATIONS = tuple(product((False, True), repeat=3))


class Match(NamedTuple):
    """Two photos with similar hashes.

    Attributes:
        first: Index of a photo.
        second: Index of a photo before it.
        distance: From 0 to `SCALE`; see there.
    """

    first: int
    second: int
    distance: int


def find_matches(
    hashes: Sequence[PerceptualHash],
    *,
    groups: Sequence[int] | None = None,
    radius: int = RADIUS,
    threads: int | None = None,
    progress: Progress = no_progress,
) -> list[Match]:
    """Returns the pairs of similar photos, each once.

    Args:
        hashes: One per photo.
        groups: The group of each photo, such as its split; the closest matches in each group are returned.
        radius: The largest distance of a match.
        threads: Number of threads; by default the number of processors.
        progress: Called as photos are done.

    Returns:
        The matches, in order.
    """
    if len(hashes) < 2:
        return []
    index = _Index(hashes, radius=min(radius, SCALE))
    starts = range(0, len(index.queries), _BLOCK)
    blocks = []
    pool = ThreadPoolExecutor(threads or usable_cpus())
    try:
        for start, found in zip(starts, pool.map(index.look_up, starts), strict=True):
            blocks.append(found)
            progress("compare photos", min(start + _BLOCK, len(index.queries)), len(index.queries))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    pairs = _join_pairs(np.concatenate(blocks))
    closest = _select_closest(pairs, np.zeros(len(hashes), np.int64) if groups is None else np.asarray(groups))
    matches: dict[tuple[int, int], int] = {}
    for one, two, _, distance, *how in closest.tolist():
        if distance < matches.get((one, two), SCALE + 1) and index.confirm(*how):
            matches[one, two] = distance
    return [Match(one, two, distance) for (one, two), distance in sorted(matches.items())]


class _Index:
    """The parts of all photos in several hash tables.

    Attributes:
        queries: The rows of the whole photos, with and without their border.
    """

    def __init__(self, hashes: Sequence[PerceptualHash], *, radius: int) -> None:
        self._brightness = np.concatenate([each.brightness for each in hashes])
        self._colour = np.concatenate([each.colour for each in hashes])
        self._lengths = np.sqrt(np.einsum("ij,ij->i", self._brightness, self._brightness, dtype=np.float32))
        self._signs = _pack_signs(self._brightness)
        self._owners = np.repeat(np.arange(len(hashes)), [len(each.brightness) for each in hashes])
        self._radius = radius
        self._least = np.cos(np.pi / SCALE * min(radius + 0.5, SCALE))  # the least correlation of a match
        self.queries = np.arange(0, len(self._owners), PARTS)
        self._medians = np.median(self._brightness[:: 1 + len(self._owners) // _SAMPLE], axis=0).astype(np.int16)
        self._thumbnails = np.concatenate([each.thumbnails for each in hashes])
        self._shapes = np.concatenate([each.shapes for each in hashes])
        random = np.random.default_rng(0)
        bits = int(np.clip(np.ceil(np.log2(len(self._owners))), _MIN_BITS, _MAX_BITS))
        self._tables = [_Table(self._brightness, self._medians, bits, random) for _ in range(_TABLES)]

    def look_up(self, start: int) -> NDArray[np.int64]:
        """Returns the matches of a block of queries.

        Returns:
            A row for each: the photo, the other photo, whether one is turned or a part, the distance, the row of the
            photo, the row of the other, and the number of the orientation.
        """
        rows = self.queries[start : start + _BLOCK]
        return np.concatenate([self._look_up_turned(rows, number) for number in range(len(_ORIENTATIONS))])

    def confirm(self, row: int, other: int, orientation: int) -> bool:
        """Returns whether a match holds for more frequencies; arguments as `look_up` returns them."""
        one, two = (
            transform_part(self._thumbnails[each // PARTS], self._shapes[each // PARTS], each % PARTS)
            for each in (row, other)
        )
        correlation = float((_turn(one, orientation) * two).sum())
        return correlation >= (_MIN_CHANGED_CORRELATION if orientation or other % PARTS else _MIN_CORRELATION)

    def _look_up_turned(self, rows: NDArray[np.int64], orientation: int) -> NDArray[np.int64]:
        brightness = _turn_rows(self._brightness[rows], FREQUENCIES, orientation)
        margins = brightness.astype(np.int16) - self._medians
        found = [table.look_up(margins) for table in self._tables]
        one, two = (np.concatenate(column) for column in zip(*found, strict=True))
        near = np.bitwise_count(_pack_signs(brightness)[one] ^ self._signs[two]) <= _MAX_SIGNS
        one, two = one[near], two[near]
        products = np.einsum("ij,ij->i", brightness[one], self._brightness[two], dtype=np.float32)
        correlation = products / (self._lengths[rows[one]] * self._lengths[two])
        close = (correlation >= self._least) & (self._owners[rows[one]] != self._owners[two])
        one, two, correlation = one[close], two[close], correlation[close]
        distance = np.rint(SCALE / np.pi * np.arccos(correlation.clip(-1, 1))).astype(np.int64)
        changed = (two % PARTS > 0) | (orientation > 0)
        colour = _turn_rows(self._colour[rows], COLOUR_FREQUENCIES, orientation).astype(np.float32)
        difference = np.linalg.norm(colour[one] - self._colour[two], axis=1)
        similar = distance <= np.where(changed, _CHANGED_SHARE, 1) * self._radius
        similar &= (distance <= _SURE_RADIUS) | (difference <= _MAX_COLOUR_DIFFERENCE)
        one = rows[one]
        columns = (self._owners[one], self._owners[two], changed, distance, one, two, np.full(len(one), orientation))
        rows_found: NDArray[np.int64] = np.stack(columns, axis=1)[similar]
        return rows_found


def _pack_signs(hashes: Hashes) -> NDArray[np.uint64]:
    return np.packbits(hashes > 0, axis=1).view(np.uint64).ravel()


def _turn(frequencies: NDArray[Any], orientation: int) -> NDArray[Any]:
    mirrored, flipped, transposed = _ORIENTATIONS[orientation]
    return turn(frequencies, mirrored=mirrored, flipped=flipped, transposed=transposed)


def _turn_rows(hashes: Hashes, frequencies: int, orientation: int) -> Hashes:
    return _turn(hashes.reshape(len(hashes), -1, frequencies, frequencies), orientation).reshape(hashes.shape)


class _Table:
    """A hash table: the rows of hashes by key, of which each bit says whether a frequency is above its median."""

    def __init__(self, hashes: Hashes, medians: NDArray[np.int16], bits: int, random: np.random.Generator) -> None:
        self._places = random.choice(_KEY_PLACES, bits, replace=False)
        self._bits = 1 << np.arange(bits)
        keys = (hashes[:, self._places] > medians[self._places]) @ self._bits
        shuffled = random.permutation(len(keys))
        self._rows = shuffled[np.argsort(keys[shuffled], kind="stable")]
        self._ends = np.cumsum(np.bincount(keys, minlength=1 << bits))

    def look_up(self, margins: NDArray[np.int16]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns the candidates: the rows of the margins, and the rows of hashes with a key like theirs.

        Args:
            margins: The hashes less the medians.
        """
        margins = margins[:, self._places]
        uncertain = np.argpartition(np.abs(margins), _UNCERTAIN, axis=1)[:, :_UNCERTAIN]
        inverted = self._bits[uncertain] @ _SUBSETS.T
        keys = (((margins > 0) @ self._bits)[:, None] ^ inverted).ravel()
        ends = self._ends[keys]
        starts = np.where(keys > 0, self._ends[keys - 1], 0)
        counts = np.minimum(ends - starts, _MAX_BUCKET)
        steps = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        queries = np.repeat(np.repeat(np.arange(len(margins)), len(_SUBSETS)), counts)
        return queries, self._rows[np.repeat(starts, counts) + steps]


_KEY_PLACES = np.flatnonzero((np.indices((FREQUENCIES, FREQUENCIES)).sum(axis=0) <= _LOW).ravel())[1:]
_SUBSETS = np.array(list(product((0, 1), repeat=_UNCERTAIN)))


def _join_pairs(found: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the best match of each pair, and the best with a turned photo or a part; the later photo first."""
    one, two = found[:, :2].max(axis=1), found[:, :2].min(axis=1)
    found = np.concatenate([one[:, None], two[:, None], found[:, 2:]], axis=1)
    ordered = found[np.lexsort(found.T[::-1])]
    new = np.ones(len(ordered), np.bool_)
    new[1:] = (ordered[1:, :3] != ordered[:-1, :3]).any(axis=1)
    best: NDArray[np.int64] = ordered[new]
    return best


def _select_closest(pairs: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the pairs that are among the closest of the later photo within the group of the earlier one."""
    one, two, changed, distance = pairs.T[:4]
    kind = (one * (groups.max() + 1) + groups[two]) * 2 + changed
    order = np.lexsort((two, distance, kind))
    kind = kind[order]
    few = np.arange(len(kind)) - np.searchsorted(kind, kind) < _MAX_MATCHES
    closest: NDArray[np.int64] = pairs[np.sort(order[few])]
    return closest
