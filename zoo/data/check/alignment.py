"""Aligns pictures that may show the same content, and measures how well they agree then.

Crops and borders are known only roughly, and copies may be rotated by a few degrees: without alignment these differ as
much as other photos do, with it only copies agree in the details. The method is the inverse compositional algorithm of
Lucas and Kanade for affine transforms (Baker and Matthews 2004, https://doi.org/10.1023/B:VISI.0000011205.11775.fd),
coarse to fine, with brightness and contrast equalised.

Coordinates are -1 to 1 from the left to the right edge of a picture and from its top to its bottom. A placement, an
array ``(2, 3)``, maps x, y, 1 of one picture to x, y of another.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_COARSE_STEPS, _FINE_STEPS = 6, 2
_MIN_COARSE = 0.65  # pictures that agree less at half their size are not aligned further
_MAX_SHIFT = 0.2  # of the side: how far the corners may move
_DAMPING = 0.01  # so that an even area, which fits anywhere, does not move the picture
_MAX_STEP = 0.3
_FLAT = 1e-3
_IDENTITY = np.eye(2, 3, dtype=np.float32)


def correlate_aligned(pictures: Floats, others: Floats, placements: Floats) -> Floats:
    """Returns the correlation of the edges of each pair of pictures where they overlap, once they are aligned.

    Args:
        pictures: Brightness, ``(N, side, side)``.
        others: Pictures of the same size.
        placements: Where each picture lies in the other one, roughly, ``(N, 2, 3)``.

    Returns:
        At most 1, ``(N,)``; 0 for pictures that cannot be aligned.
    """
    small, small_others = _halve(pictures), _halve(others)
    coarse = _align(small, small_others, placements, steps=_COARSE_STEPS)
    correlations = _correlate_edges(small, small_others, coarse)
    good = (correlations >= _MIN_COARSE) & (_measure_shift(placements, coarse) <= _MAX_SHIFT)
    pictures, others = pictures[good], others[good]
    fine = _align(pictures, others, coarse[good], steps=_FINE_STEPS)
    aligned = np.zeros(len(placements), np.float32)
    aligned[good] = _correlate_edges(pictures, others, fine)
    return aligned


def _halve(pictures: Floats) -> Floats:
    count, side, _ = pictures.shape
    halved: Floats = pictures.reshape(count, side // 2, 2, side // 2, 2).mean(axis=(2, 4))
    return halved


def _align(pictures: Floats, others: Floats, placements: Floats, *, steps: int) -> Floats:
    """Returns better placements, by steps of Gauss and Newton's method on every other pixel of every other line."""
    count, side, _ = pictures.shape
    points = _list_points(side)[:, 1::2, 1::2].reshape(3, -1)
    gradients = _measure_edges(pictures)[:, :, 1::2, 1::2].reshape(count, 2, 1, points.shape[1]) * (side / 2)
    jacobian = (gradients * points).reshape(count, 6, points.shape[1])  # of pixels by the six numbers of a placement
    squares = jacobian @ jacobian.swapaxes(1, 2)
    squares += (_DAMPING / 6 * np.trace(squares, axis1=1, axis2=2) + _FLAT)[:, None, None] * np.eye(6, dtype=np.float32)
    solver = np.linalg.inv(squares) @ jacobian
    pixels = pictures[:, 1::2, 1::2].reshape(count, points.shape[1])
    for _ in range(steps):
        found, inside = _sample(others, placements @ points)
        differences = (_equalise(found, inside, like=pixels) - pixels) * inside
        change = (solver @ differences[:, :, None]).reshape(count, 2, 3).clip(-_MAX_STEP, _MAX_STEP)
        placements = (_append_row(placements) @ np.linalg.inv(_append_row(change + _IDENTITY)))[:, :2]
    return placements


def _append_row(placements: Floats) -> Floats:
    """Returns placements as square matrices, which can be multiplied and inverted."""
    square = np.zeros((len(placements), 3, 3), np.float32)
    square[:, :2], square[:, 2, 2] = placements, 1
    return square


@lru_cache
def _list_points(side: int) -> Floats:
    """Returns x, y, 1 of each pixel of a picture, ``(3, side, side)``."""
    line = (np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1
    x, y = np.meshgrid(line, line)
    return np.stack([x, y, np.ones_like(x)])


def _sample(pictures: Floats, points: Floats) -> tuple[Floats, Floats]:
    """Returns pictures at points between their pixels, and 1 for points inside, else 0.

    Args:
        pictures: ``(N, side, side)``.
        points: x and y, ``(N, 2, points)``.

    Returns:
        Two arrays ``(N, points)``.
    """
    count, side, _ = pictures.shape
    points = (points + 1) * (side / 2) - 0.5
    inside = ((points > -0.5) & (points < side - 0.5)).all(axis=1).astype(np.float32)
    np.clip(points, 0, side - 1.001, out=points)
    corners = points.astype(np.int32)
    points -= corners.astype(np.float32)
    right, down = points[:, 0], points[:, 1]
    first = (
        corners[:, 1] * side + corners[:, 0] + np.arange(0, count * side * side, side * side, dtype=np.int32)[:, None]
    )
    flat = pictures.ravel()
    above, below = (
        corner + (flat.take(places + 1) - corner) * right
        for places in (first, first + side)
        for corner in (flat.take(places),)
    )
    return above + (below - above) * down, inside


def _equalise(pixels: Floats, inside: Floats, *, like: Floats) -> Floats:
    """Returns pixels with the mean and the contrast of others, both taken inside; all ``(N, pixels)``."""
    number = np.maximum(inside.sum(axis=1, keepdims=True), 1)
    mean, target = (np.einsum("ij,ij->i", each, inside)[:, None] / number for each in (pixels, like))
    centred, targeted = (pixels - mean) * inside, (like - target) * inside
    contrast, wanted = (np.sqrt(np.einsum("ij,ij->i", each, each))[:, None] for each in (centred, targeted))
    equalised: Floats = centred * (wanted / np.maximum(contrast, _FLAT)) + target
    return equalised


def _measure_edges(pictures: Floats) -> Floats:
    """Returns the differences of neighbouring pixels along x and y, ``(N, 2, side, side)``; 0 at the rim."""
    edges = np.zeros((len(pictures), 2, *pictures.shape[1:]), np.float32)
    edges[:, 0, :, 1:-1] = (pictures[:, :, 2:] - pictures[:, :, :-2]) / 2
    edges[:, 1, 1:-1] = (pictures[:, 2:] - pictures[:, :-2]) / 2
    return edges


def _correlate_edges(pictures: Floats, others: Floats, placements: Floats) -> Floats:
    side = pictures.shape[1]
    found, inside = _sample(others, placements @ _list_points(side).reshape(3, -1))
    covered = inside.reshape(pictures.shape).copy()
    for axis in (1, 2):  # where a neighbour is outside, there is no difference
        covered *= np.roll(covered, 1, axis) * np.roll(covered, -1, axis)
    one, two = (
        (_measure_edges(each) * covered[:, None]).reshape(len(pictures), 2 * side**2)
        for each in (pictures, found.reshape(pictures.shape))
    )
    products, squares, others_squares = (np.einsum("ij,ij->i", *both) for both in ((one, two), (one, one), (two, two)))
    correlations: Floats = products / np.maximum(np.sqrt(squares * others_squares), _FLAT)
    return correlations


def _measure_shift(before: Floats, after: Floats) -> Floats:
    """Returns how far the farthest corner moved from one placement to another, as a share of its side, ``(N,)``."""
    corners = np.array([[-1, 1, -1, 1], [-1, -1, 1, 1], [1, 1, 1, 1]], np.float32)
    sides = 2 * before[:, (0, 1), (0, 1)]
    shift: Floats = (np.abs((after - before) @ corners) / sides[:, :, None]).max(axis=(1, 2))
    return shift
