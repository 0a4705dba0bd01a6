"""Makes of preprocessed images the batch that an exported graph takes.

Images of different sizes cannot share a batch of raw pixels. So photos are preprocessed here, as in training and
evaluation, and laid into a frame that the graph's own resize leaves as it is and whose centre crop gives back what was
laid in, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zoo.errors import ExportError

if TYPE_CHECKING:
    from zoo.preprocess import Preprocess

# From uint8 images ``(h, w, 3)`` of the preprocessing's size to a batch.
Frame = Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.uint8] | NDArray[np.float32]]


def frame_of(spec: Preprocess, *, name: str) -> Frame:
    """Returns what lays images into frames, uint8 ``(N, H, W, 3)``, for a graph that takes raw pixels.

    Args:
        spec: The preprocessing inside the graph.
        name: What messages call the file.

    Raises:
        ExportError: There is no such frame: photos are made smaller than the network's input, and padded.
    """
    if spec.resize_mode == "squash":
        return np.stack
    sides = [side if spec.resize_mode == "shorter" and side > spec.resize else spec.resize for side in spec.size]
    if min(sides) > spec.resize:
        raise ExportError(
            f"{name} resizes photos to {spec.resize} pixels and pads them to {spec.size[0]} x {spec.size[1]}, "
            "which raw pixels cannot tell of.",
            hint="Export the run with --input tensor.",
        )
    if tuple(sides) == spec.size:
        return np.stack
    places = [_overlap(side, wanted) for side, wanted in zip(sides, spec.size, strict=True)]
    (outer_rows, inner_rows), (outer_columns, inner_columns) = places

    def lay(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        frames = np.zeros((len(images), *sides, 3), dtype=np.uint8)
        for frame, image in zip(frames, images, strict=True):
            frame[outer_rows, outer_columns] = image[inner_rows, inner_columns]
        return frames

    return lay


def normaliser(spec: Preprocess) -> Frame:
    """Returns what normalises images, float32 ``(N, 3, h, w)``, for a graph that takes the network's own input.

    Of a channel there are 256 values, so each is computed once, as `zoo.data.loading.augment.normalise` computes it.
    """
    # mode="clip", which never happens for uint8, lets numpy write in place.
    mean, std = (np.array(values, dtype=np.float32)[:, None] * np.float32(255) for values in (spec.mean, spec.std))
    levels = (np.arange(256, dtype=np.float32) - mean) / std

    def normalise(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        batch = np.empty((len(images), 3, *spec.size), dtype=np.float32)
        for planes, image in zip(batch, images, strict=True):
            for channel in range(3):
                np.take(levels[channel], image[..., channel], out=planes[channel], mode="clip")
        return batch

    return normalise


def _overlap(side: int, wanted: int) -> tuple[slice, slice]:
    """Returns where a centre crop of `wanted` out of `side` meets its source: in the source, and in the crop."""
    if side >= wanted:
        start = round((side - wanted) / 2)
        return slice(start, start + wanted), slice(None)
    start = (wanted - side) // 2
    return slice(None), slice(start, start + side)
