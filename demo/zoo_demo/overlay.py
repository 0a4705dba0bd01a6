"""Lays a heat map over the photo that it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DARKEST = 0.55  # what the network did not look at keeps so much of its light
_TINT = np.array([255, 140, 0], dtype=np.float32)
_TINTED = 0.4


def lay_over(photo: NDArray[np.uint8], heatmap: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Returns the photo, lit and tinted where the network looked, dark elsewhere; uint8 ``(h, w, 3)``.

    Args:
        photo: uint8 RGB ``(h, w, 3)``, as the network saw it.
        heatmap: float32 ``(rows, columns)`` from 0 to 1, over the whole of it.
    """
    height, width = photo.shape[:2]
    enlarged = Image.fromarray(heatmap.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    heat = np.asarray(enlarged).clip(0, 1)[..., None]
    lit = photo * (_DARKEST + (1 - _DARKEST) * heat)
    mixed: NDArray[np.uint8] = (lit * (1 - _TINTED * heat) + _TINT * _TINTED * heat).round().astype(np.uint8)
    return mixed
