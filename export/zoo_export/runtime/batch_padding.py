"""Turns preprocessed images into the batch that an exported graph takes.

Images of different sizes cannot share a batch of raw pixels. So photos are preprocessed outside the graph, as in
training and evaluation, and padded to a size that the graph does not resize and whose centre crop returns the image
bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zoo.errors import ExportError

if TYPE_CHECKING:
    from zoo.preprocess import Preprocess

# Maps preprocessed images, uint8 ``(h, w, 3)``, to a batch.
MakeBatch = Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.uint8] | NDArray[np.float32]]


def make_padder(spec: Preprocess, *, name: str) -> MakeBatch:
    """Returns a function that pads images to a batch, uint8 ``(N, H, W, 3)``, for a graph that takes raw pixels.

    Args:
        spec: The preprocessing inside the graph.
        name: The name of the file in messages.

    Raises:
        ExportError: No padding survives the preprocessing: it shrinks photos below the input size and pads them.
    """
    if spec.resize_mode == "squash":
        return np.stack
    sides = [side if spec.resize_mode == "shorter" and side > spec.resize else spec.resize for side in spec.size]
    if min(sides) > spec.resize:
        raise ExportError(
            f"{name} resizes photos to {spec.resize} pixels and pads them to {spec.size[0]} x {spec.size[1]}; "
            "a batch of raw pixels cannot reproduce that.",
            hint="Export the run with --input tensor.",
        )
    if tuple(sides) == spec.size:
        return np.stack
    overlaps = [_overlap(side, wanted) for side, wanted in zip(sides, spec.size, strict=True)]
    (outer_rows, inner_rows), (outer_columns, inner_columns) = overlaps

    def pad(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        batch = np.zeros((len(images), *sides, 3), dtype=np.uint8)
        for padded, image in zip(batch, images, strict=True):
            padded[outer_rows, outer_columns] = image[inner_rows, inner_columns]
        return batch

    return pad


def _overlap(side: int, wanted: int) -> tuple[slice, slice]:
    """Returns where a centre crop of length `wanted` overlaps an image of length `side`: in the image, in the crop."""
    if side >= wanted:
        start = round((side - wanted) / 2)
        return slice(start, start + wanted), slice(None)
    start = (wanted - side) // 2
    return slice(None), slice(start, start + side)
