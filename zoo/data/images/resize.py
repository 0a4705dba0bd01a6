"""Resizes and crops decoded photos to the input of a network, as torchvision does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from zoo.data.images.decode import Pixels, Size
    from zoo.preprocess import Preprocess

_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
# Above this number of pixels only the crop is computed: a 1 x 4000 strip at 256 px would have 262 million.
_MAX_RESIZED_PIXELS = 32_000_000


def preprocess(pixels: Pixels, spec: Preprocess) -> Pixels:
    """Resizes and crops an image to the input size of a network, exactly as torchvision does with Pillow images.

    The resize is Pillow's, antialiased, on uint8. Integer arithmetic keeps the aspect: one side becomes ``resize``, the
    other ``resize * other // this`` (at least 1). The crop starts at ``round((length - size) / 2)``, half to even. An
    image smaller than the crop is padded, with the odd pixel on the right and at the bottom: with the mean colour in
    mode ``"longer"``, otherwise with black, as torchvision's CenterCrop does.

    Args:
        pixels: uint8 RGB, (height, width, 3).
        spec: The network's preprocessing; `mean` and `std` are not applied here.

    Returns:
        uint8 RGB, ``(*spec.size, 3)``.
    """
    height, width = spec.size
    image = _resize_window(pixels, spec)
    (columns, rows), (row, column) = image.size, centre_window(pixels.shape[:2], spec)[2]
    if rows >= height and columns >= width:
        return np.array(image.crop((column, row, column + width, row + height)))
    canvas = Image.new("RGB", (width, height), fill_colour(spec) if spec.resize_mode == "longer" else 0)
    canvas.paste(image, (-column, -row))
    return np.array(canvas)


def resize_window(pixels: Pixels, spec: Preprocess) -> Pixels:
    """Returns an image as `preprocess` resizes it, before the centre crop or the padding; arguments as there."""
    return np.asarray(_resize_window(pixels, spec))


def fill_colour(spec: Preprocess) -> tuple[int, ...]:
    """Returns the mean colour, 0 to 255, which fills the area outside a photo."""
    return tuple(round(255 * channel) for channel in spec.mean)


def centre_window(size: tuple[int, ...], spec: Preprocess) -> tuple[tuple[int, int, int, int], Size, Size]:
    """Returns the window that `preprocess` shows of a photo of `size` (height, width).

    Returns:
        The box to resize: top, left, height, width; the (height, width) to resize it to; and the (row, column) in the
        result where the window of `spec.size` starts, negative if the result is smaller than the window.
    """
    if spec.resize_mode == "squash":
        return (0, 0, *size), spec.size, (0, 0)  # type: ignore[return-value]
    one = min(size) if spec.resize_mode == "shorter" else max(size)
    resized = [max(1, spec.resize * side // one) for side in size]
    box = [(0, side) for side in size]
    if resized[0] * resized[1] > _MAX_RESIZED_PIXELS:
        sides = [_trim(*lengths) for lengths in zip(size, resized, spec.size, strict=True)]
        box, resized = [(start, length) for start, length, _ in sides], [target for *_, target in sides]
    row, column = (
        round((have - want) / 2) if have >= want else -((want - have) // 2)
        for have, want in zip(resized, spec.size, strict=True)
    )
    (top, height), (left, width) = box
    return (top, left, height, width), (resized[0], resized[1]), (row, column)


def _resize_window(pixels: Pixels, spec: Preprocess) -> Image.Image:
    image = Image.fromarray(pixels)
    (top, left, height, width), (rows, columns), _ = centre_window(pixels.shape[:2], spec)
    if (height, width) != pixels.shape[:2]:
        image = image.crop((left, top, left + width, top + height))
    return image.resize((columns, rows), _RESAMPLING[spec.interpolation])


def _trim(length: int, resized: int, wanted: int) -> tuple[int, int, int]:
    """Trims both ends of a very long side, by whole pixels that the centre crop would drop anyway.

    Returns:
        Where the rest starts, its length, and its length after the resize.
    """
    # A margin of a few source pixels, so that the filter sees the same neighbours at the edge of the crop.
    cut = max(0, (length - wanted * length // resized) // 2 - 4)
    left = length - 2 * cut
    return cut, left, max(1, resized * left // length)
