"""Lays a heat map over the photo that it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DARKEST = 0.3  # what the network did not look at keeps so much of its light
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


def lay_over(photo: NDArray[np.uint8], heatmap: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Returns the photo, in its colours where the network looked, dark and grey elsewhere; uint8 ``(h, w, 3)``.

    Light and colour say the same: it can be read whatever is to be seen, and by who cannot tell red from green.

    Args:
        photo: uint8 RGB ``(h, w, 3)``, as the network saw it.
        heatmap: float32 ``(rows, columns)`` from 0 to 1, over the whole of it.
    """
    height, width = photo.shape[:2]
    enlarged = Image.fromarray(heatmap.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    heat = np.asarray(enlarged).clip(0, 1)[..., None]
    grey = (photo @ _LUMA)[..., None]
    mixed: NDArray[np.uint8] = (heat * photo + (1 - heat) * _DARKEST * grey).round().astype(np.uint8)
    return mixed
