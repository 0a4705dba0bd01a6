"""How familiar a photo is to a classifier: the similarity of its features to those of the training photos.

The score is the mean cosine similarity to the nearest prototypes: deep nearest neighbours (Sun et al. 2022,
https://arxiv.org/abs/2204.06507) with the centres of a spherical k-means (Dhillon & Modha 2001,
https://doi.org/10.1023/A:1007612920971) in place of the training photos. A hundred centres tell strangers apart as well
as all photos, and their threshold holds better for new photos: a centre is no photo that the network was trained on.
The measurements are in docs/reliable-answers.md. All arrays are numpy's; nothing here imports torch.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

SHARE = 0.95  # of photos of the same kind as those of training, which shall be familiar
NEIGHBOURS = 3  # prototypes that the score is the mean of
SMALLEST_NORM = 1e-12  # of a vector that has a direction
_PROTOTYPES = 100  # more tell strangers apart no better
_PER_CLASS = 2
_MOST_PROTOTYPES = 400
_NETWORK_SHARE = 0.05  # the largest size of the prototypes, as a share of the float32 weights
_BYTES = 2  # of a number in float16
_ROUNDS = 25  # of k-means, which nearly always stops earlier
_STEP = 1e-5  # thresholds are multiples of it: runtimes differ by less


def count_prototypes(*, classes: int, width: int, parameters: int) -> int:
    """Returns how many prototypes a network gets: a hundred, or two for each of many classes, at most 400.

    Small networks get fewer: the prototypes take at most a twentieth of the space of the weights in float32, so that
    the exported file grows little, even one of 8-bit weights.

    Args:
        classes: Number of classes.
        width: Length of a feature vector.
        parameters: Number of parameters of the network.
    """
    affordable = int(_NETWORK_SHARE * 4 * parameters / (_BYTES * width))
    return max(NEIGHBOURS, min(max(_PROTOTYPES, _PER_CLASS * classes), _MOST_PROTOTYPES, affordable))


def choose_prototypes(vectors: Vectors, count: int, *, seed: int) -> NDArray[np.float16]:
    """Returns unit vectors that stand for those of the training photos, float16 ``(K, D)``.

    Args:
        vectors: The features of the training photos, ``(N, D)``.
        count: K, unless there are fewer photos: then each is a prototype.
        seed: Decides with which photos k-means starts.
    """
    units = to_units(vectors)
    if len(units) <= count:
        return units.astype(np.float16)
    random = np.random.default_rng(seed)
    centres = units[np.sort(random.choice(len(units), count, replace=False))]
    assigned = np.full(len(units), -1)
    for _ in range(_ROUNDS):
        nearest = (units @ centres.T).argmax(axis=1)
        if (nearest == assigned).all():
            break
        assigned = nearest
        order = np.argsort(nearest, kind="stable")
        found, starts = np.unique(nearest[order], return_index=True)
        centres[found] = to_units(np.add.reduceat(units[order], starts, axis=0))  # the others stay where they are
    return centres.astype(np.float16)


def compute_familiarity(vectors: Vectors, prototypes: NDArray[np.float16], *, neighbours: int) -> NDArray[np.float32]:
    """Returns the familiarity of photos, float32 ``(N,)``, from -1 to 1; 0 for features that are all zero.

    Args:
        vectors: The features of the photos, ``(N, D)``.
        prototypes: As `choose_prototypes` returns them.
        neighbours: Number of nearest prototypes that the score is the mean of, at most K.
    """
    similarities = to_units(vectors) @ prototypes.astype(np.float32).T
    nearest = np.partition(similarities, -neighbours, axis=1)[:, -neighbours:]
    mean: NDArray[np.float32] = nearest.mean(axis=1, dtype=np.float32)
    return mean


def choose_threshold(scores: NDArray[np.float32], *, share: float) -> float:
    """Returns the familiarity from which a photo counts as familiar.

    It is chosen as in split conformal prediction (Vovk et al. 2005; for strangers Bates et al. 2023,
    https://arxiv.org/abs/2104.08279): the expected share of new photos of the same kind that reach it is at least
    `share`, whatever their distribution. With fewer than 19 photos (of a share of 95 %) that is impossible, and it is
    the lowest of the scores.

    Args:
        scores: The familiarity of photos that are of the same kind, but not among those of the prototypes, ``(N,)``.
        share: Between 0 and 1.
    """
    rank = max(1, math.floor((1 - share) * (len(scores) + 1) + 1e-9))
    lowest = float(np.partition(scores, rank - 1)[rank - 1])
    return math.floor(lowest / _STEP) * _STEP


def to_units(vectors: Vectors) -> Vectors:
    """Returns vectors ``(N, D)`` of length 1, float32; one that is all zero stays zero."""
    vectors = vectors.astype(np.float32)
    norms = np.sqrt(np.square(vectors).sum(axis=1, keepdims=True))
    units: Vectors = vectors / np.maximum(norms, SMALLEST_NORM)
    return units
