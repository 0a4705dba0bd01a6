"""Finds similar perceptual hashes among many, without comparing all pairs.

Each photo, in its eight orientations, is looked up among the parts of all photos: a cropped copy is found among the
parts of its original, and an original by the same lookup among the parts of a copy that gained a border. What has a
similar hash is aligned and compared in detail.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zoo.data.check.alignment import correlate_aligned
from zoo.data.check.hash_tables import HashTables
from zoo.data.check.perceptual_hash import COLOUR_FREQUENCIES, FREQUENCIES, PARTS, place_part, turn
from zoo.events import no_progress
from zoo.utils.machine import usable_cpus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from zoo.data.check.perceptual_hash import Hashes, PerceptualHash
    from zoo.events import Progress

# The distance of two hashes is the angle between them: 0 to `SCALE` for 0 to 180 degrees. So many bits of `SCALE` would
# differ on average if the hashes were rounded to bits in the usual way (Charikar 2002, "SimHash").
SCALE = 128
# Near duplicates differ by at most `RADIUS`; by at most `_CHANGED_SHARE` of it if one is turned or a part of the other:
# there are hundreds of ways to turn and crop, so that different photos come closer by chance.
RADIUS, _CHANGED_SHARE = 28, 0.8
# Up to `_SURE_RADIUS` this is enough; above, their colours must differ by at most `_MAX_COLOUR_DIFFERENCE` levels of
# 255 in root mean square.
_SURE_RADIUS, _MAX_COLOUR_DIFFERENCE = 12, 10.0
# Finally their edges must correlate at least so much once they are aligned.
_MIN_CORRELATION = 0.78
_MAX_MATCHES = 8  # per photo and group, the closest: thousands of similar photos must not give millions of pairs
_MAX_SIGNS = 20  # of 64 signs may differ: a quick test that few different photos pass, and no match fails
_BLOCK = 256  # photos looked up at once
_ALIGNED = 32  # pairs aligned at once: their pictures fit into the cache of a processor
_ORIENTATIONS = tuple(product((False, True), repeat=3))


class Match(NamedTuple):
    """Two photos with similar hashes.

    Attributes:
        first: Index of a photo.
        second: Index of a photo before it.
        distance: From 0 to `SCALE`; see there.
        turned: Whether they look the same only if one is mirrored or turned.
    """

    first: int
    second: int
    distance: int
    turned: bool = False


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
    pool = ThreadPoolExecutor(threads or usable_cpus())
    try:
        found = np.concatenate(list(_run(pool, index.look_up, index.queries, _BLOCK, "compare photos", progress)))
        pairs = _select_closest(found, np.zeros(len(hashes), np.int64) if groups is None else np.asarray(groups))
        confirmed = list(_run(pool, index.confirm, pairs, _ALIGNED, "align photos", progress))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    matches: dict[tuple[int, int], Match] = {}
    kept = pairs[np.concatenate([np.zeros(0, np.bool_), *confirmed])]
    for one, two, turned, distance in kept[:, :4].tolist():  # the upright match of a pair comes first
        matches.setdefault((one, two), Match(one, two, distance, bool(turned)))
    return list(matches.values())


def _run(
    pool: ThreadPoolExecutor,
    work: Callable[[NDArray[np.int64]], NDArray[Any]],
    rows: NDArray[np.int64],
    size: int,
    what: str,
    progress: Progress,
) -> Iterator[NDArray[Any]]:
    """Yields the results of work on blocks of rows, in order."""
    starts = range(0, len(rows), size)
    for start, result in zip(starts, pool.map(lambda start: work(rows[start : start + size]), starts), strict=True):
        yield result
        progress(what, min(start + size, len(rows)), len(rows))


class _Index:
    """The parts of all photos in hash tables.

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
        self._thumbnails = [picture for each in hashes for picture in each.thumbnails]
        self._shapes = [shape for each in hashes for shape in each.shapes]
        self._tables = HashTables(self._brightness)

    def look_up(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the similar hashes of a block of queries.

        Returns:
            The closest of each pair of photos as they are, and the closest with one turned, ordered. In each row: the
            later photo, the earlier one, whether one is turned, the distance, the rows of both hashes, and the number
            of the orientation.
        """
        found = np.concatenate([self._look_up_turned(rows, number) for number in range(len(_ORIENTATIONS))])
        return _select_best(found)

    def confirm(self, pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Returns whether pairs, as `look_up` returns them, match in detail too."""
        rows, others, orientations = pairs[:, 4:].T.tolist()
        pictures = [
            _turn_picture(self._thumbnails[row // PARTS], way) for row, way in zip(rows, orientations, strict=True)
        ]
        placements = [place_part(self._shapes[other // PARTS], other % PARTS) for other in others]
        candidates = [self._thumbnails[other // PARTS] for other in others]
        stacked = (np.stack(each).astype(np.float32) for each in (pictures, candidates, placements))
        confirmed: NDArray[np.bool_] = correlate_aligned(*stacked) >= _MIN_CORRELATION
        return confirmed

    def _look_up_turned(self, rows: NDArray[np.int64], orientation: int) -> NDArray[np.int64]:
        brightness = _turn_rows(self._brightness[rows], FREQUENCIES, orientation)
        one, two = self._tables.look_up(brightness)
        near = np.bitwise_count(_pack_signs(brightness)[one] ^ self._signs[two]) <= _MAX_SIGNS
        near &= self._owners[rows[one]] != self._owners[two]
        one, two = one[near], two[near]
        products = np.einsum("ij,ij->i", brightness[one], self._brightness[two], dtype=np.float32)
        correlation = products / (self._lengths[rows[one]] * self._lengths[two])
        close = correlation >= self._least
        one, two, correlation = one[close], two[close], correlation[close]
        distance = np.rint(SCALE / np.pi * np.arccos(correlation.clip(-1, 1))).astype(np.int64)
        changed = (two % PARTS > 0) | (orientation > 0)
        colour = _turn_rows(self._colour[rows], COLOUR_FREQUENCIES, orientation).astype(np.float32)
        difference = np.linalg.norm(colour[one] - self._colour[two], axis=1)
        similar = distance <= np.where(changed, _CHANGED_SHARE, 1) * self._radius
        similar &= (distance <= _SURE_RADIUS) | (difference <= _MAX_COLOUR_DIFFERENCE)
        one, two, distance = rows[one[similar]], two[similar], distance[similar]
        owners = self._owners[one], self._owners[two]
        how = (np.full(len(one), orientation > 0), distance, one, two, np.full(len(one), orientation))
        return np.stack([np.maximum(*owners), np.minimum(*owners), *how], axis=1)


def _pack_signs(hashes: Hashes) -> NDArray[np.uint64]:
    return np.packbits(hashes > 0, axis=1).view(np.uint64).ravel()


def _turn_rows(hashes: Hashes, frequencies: int, orientation: int) -> Hashes:
    mirrored, flipped, transposed = _ORIENTATIONS[orientation]
    square = hashes.reshape(len(hashes), -1, frequencies, frequencies)
    return turn(square, mirrored=mirrored, flipped=flipped, transposed=transposed).reshape(hashes.shape)


def _turn_picture(picture: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    mirrored, flipped, transposed = _ORIENTATIONS[orientation]
    upright = picture.T if transposed else picture
    return upright[:: -1 if flipped else 1, :: -1 if mirrored else 1]


def _select_best(found: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the closest of the rows with the same first three columns, ordered."""
    ordered = found[np.lexsort(found.T[::-1])]
    new = np.ones(len(ordered), np.bool_)
    new[1:] = (ordered[1:, :3] != ordered[:-1, :3]).any(axis=1)
    best: NDArray[np.int64] = ordered[new]
    return best


def _select_closest(found: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the best of each pair if it is among the closest of the later photo within the group of the earlier."""
    pairs = _select_best(found)
    one, two, turned, distance = pairs.T[:4]
    kind = (one * (groups.max() + 1) + groups[two]) * 2 + turned
    order = np.lexsort((two, distance, kind))
    kind = kind[order]
    few = np.arange(len(kind)) - np.searchsorted(kind, kind) < _MAX_MATCHES
    closest: NDArray[np.int64] = pairs[np.sort(order[few])]
    return closest
