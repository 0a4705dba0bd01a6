"""The photos of a stress test: their order, the size at which they are changed, and their random numbers."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from zoo.data.images.resize import resize_window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zoo.data.images.decode import Pixels
    from zoo.preprocess import Preprocess

_ROOM = 2  # times the length that the network sees: what a very long photo keeps of either side


def stratified_order(labels: Sequence[int], *, seed: int) -> NDArray[np.int64]:
    """Returns an order of photos, int64 ``(N,)``, each beginning of which has about the class shares of all of them.

    Args:
        labels: The class of each photo.
        seed: Decides the order within each class.
    """
    random, classes = np.random.default_rng(seed), np.asarray(labels)
    place = np.empty(len(classes))
    for label in np.unique(classes):
        members = random.permutation(np.flatnonzero(classes == label))
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.lexsort((random.random(len(classes)), place))


def shrink_to_network(pixels: Pixels, spec: Preprocess) -> Pixels:
    """Returns a photo at the size at which the preprocessing of a network crops it, before the crop.

    Changes are made at this size: a blur of six pixels then means the same for every camera, and
    `zoo.data.images.resize.preprocess` makes of the unchanged result exactly what it makes of the photo.

    Args:
        pixels: uint8 ``(h, w, 3)``.
        spec: The preprocessing.
    """
    small = resize_window(pixels, spec)
    for axis, length in enumerate(spec.size):
        # A multiple of four, so that the centre crop, which rounds half to even, stays where it is.
        spare = (small.shape[axis] - max(_ROOM * length, spec.resize)) // 4 * 4
        if spec.resize_mode == "shorter" and spare > 0:
            small = np.take(small, np.arange(spare // 2, small.shape[axis] - spare // 2), axis=axis)
    return small


def random_of(seed: int, kind: str, name: str) -> np.random.Generator:
    """Returns the generator of a photo and a kind of change: the same for each strength, and in any order of photos."""
    digest = hashlib.sha256(f"{seed}\0{kind}\0".encode() + name.encode("utf-8", "surrogateescape")).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))
