"""Hash tables in which similar hashes share a key: near neighbours are found without comparing all pairs.

This is multi-probe locality-sensitive hashing (Lv et al. 2007, https://www.cs.princeton.edu/cass/papers/mplsh_vldb07.pdf).
Each bit of a key is the side of a random plane on which the lowest frequencies of a hash lie, and a lookup also tries
the keys with the least certain bits inverted. The planes of a table are orthogonal and the frequencies have equal
variance, so that each bit halves the hashes independently of the others.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from zoo.data.check.perceptual_hash import FREQUENCIES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoo.data.check.perceptual_hash import Hashes

    Rows = NDArray[np.int32]

_TABLES = 8
_MIN_BITS = 4
_MIN_UNCERTAIN = 4  # bits that a lookup inverts: at least so many, and a quarter of all
_MAX_BUCKET = 64  # hashes read per key: of photos that all look alike, a sample
_SAMPLE = 10_000  # hashes for the medians and variances
_BLOCK = 1 << 16
# The frequencies in the keys, all but the mean: enough for keys of some million hashes, and the lowest, because higher
# ones change more if a photo is cropped or rotated a little.
_PLACES = np.argsort(np.hypot(*np.indices((FREQUENCIES, FREQUENCIES))).ravel(), kind="stable")[1:24]


class HashTables:
    """Hashes by several keys.

    Args:
        hashes: ``(N, 64)``, as in `zoo.data.check.perceptual_hash.PerceptualHash`.
    """

    def __init__(self, hashes: Hashes) -> None:
        sample = hashes[:: 1 + len(hashes) // _SAMPLE, _PLACES].astype(np.float32)
        self._medians, deviations = np.median(sample, axis=0), sample.std(axis=0)
        bits = int(np.clip(np.ceil(np.log2(len(hashes))), _MIN_BITS, len(_PLACES)))
        random = np.random.default_rng(0)
        self._tables = []
        for _ in range(_TABLES):
            planes = np.linalg.qr(random.normal(size=(len(_PLACES), len(_PLACES))))[0][:, :bits]
            scaled = (planes / np.maximum(deviations, 1)[:, None]).astype(np.float32)
            keys = [
                (self._centre(hashes[start : start + _BLOCK]) @ scaled > 0) @ _values(bits)
                for start in range(0, len(hashes), _BLOCK)
            ]
            self._tables.append(_Table(scaled, np.concatenate(keys), random.permutation(len(hashes)).astype(np.int32)))

    def look_up(self, hashes: Hashes) -> tuple[Rows, Rows]:
        """Returns the pairs of hashes with like keys: rows of the hashes given, and rows in the tables.

        A pair is repeated if it is found in several tables.
        """
        centred = self._centre(hashes)
        found = [table.look_up(centred) for table in self._tables]
        queries, rows = (np.concatenate(column) for column in zip(*found, strict=True))
        return queries, rows

    def _centre(self, hashes: Hashes) -> NDArray[np.float32]:
        centred: NDArray[np.float32] = hashes[:, _PLACES] - self._medians
        return centred


class _Table:
    def __init__(self, planes: NDArray[np.float32], keys: Rows, shuffled: Rows) -> None:
        """Sorts the rows by key, and those with one key at random, because lookups may read a sample."""
        self._planes = planes
        self._rows = shuffled[np.argsort(keys[shuffled], kind="stable")]
        self._ends = np.cumsum(np.bincount(keys, minlength=1 << planes.shape[1]), dtype=np.int32)

    def look_up(self, centred: NDArray[np.float32]) -> tuple[Rows, Rows]:
        margins = centred @ self._planes
        values = _values(margins.shape[1])
        number = max(_MIN_UNCERTAIN, len(values) // 4)
        uncertain = np.argpartition(np.abs(margins), number - 1, axis=1)[:, :number]
        inverted = values[uncertain] @ np.array(list(product((0, 1), repeat=number)), np.int32).T
        keys = (((margins > 0) @ values)[:, None] ^ inverted).ravel()
        ends = self._ends[keys]
        starts = np.where(keys > 0, self._ends[keys - 1], 0)
        counts = np.minimum(ends - starts, _MAX_BUCKET)
        full = np.flatnonzero(counts)
        starts, counts = starts[full], counts[full]
        steps = np.arange(counts.sum(), dtype=np.int32) - np.repeat(np.cumsum(counts) - counts, counts)
        queries = np.repeat((full >> number).astype(np.int32), counts)
        return queries, self._rows[np.repeat(starts, counts) + steps]


def _values(bits: int) -> Rows:
    return 1 << np.arange(bits, dtype=np.int32)
