"""Perceptual hashes: recognise a photo that was re-encoded, resized, cropped, mirrored, turned or given a border.

As in pHash (Zauner 2010, https://www.phash.org/docs/pubs/thesis_zauner.pdf), the lowest frequencies of a cosine
transform describe a photo. They are kept as numbers instead of bits, for three reasons: mirroring changes the signs of
some and turning swaps them, so one transform serves all eight orientations; their correlation separates copies from
other photos far better than differing bits do; and the transform of a part of a photo costs two small products of
matrices, so each photo has the hashes of the parts that croppers keep.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Hashes = NDArray[np.int8]
    # The first and the last grid line of a part along one axis.
    Interval = tuple[int, int]

# The `min_side` of `zoo.data.images.decode.open_image` for hashing, and the sides of the picture that is transformed.
MIN_SIDE = 64
FREQUENCIES = 8  # per axis, of the brightness
COLOUR_FREQUENCIES = 3  # per axis, of both colour differences of YCbCr
_FLAT = 3.0  # levels of 255: a photo that varies less, in root mean square, looks like any other such photo
_BORDER_TOLERANCE, _BORDER_OUTLIERS = 12, 0.05  # levels of 255, and the share of a line that may differ more
_CENTRES = (0.9, 0.82, 0.7, 0.6)  # shares of width and height that remain
_CORNERS = (0.95, 0.9, 0.85, 0.8)
_SIDES = (0.9, 0.8)
_SQUARES = (1.0, 0.875)  # of the central square; 224 of 256 pixels is a common crop


class PerceptualHash(NamedTuple):
    """Identifies the content of a photo.

    Attributes:
        brightness: The frequencies of each part but the mean, scaled to 127, ``(parts, 64)``; the first part is the
            whole photo. A photo with a border has twice the parts: the second half without the border.
        colour: The frequencies of the colour differences in levels of 255, ``(parts, 18)``.
        thumbnails: The brightness of the photo, ``(1, 64, 64)``, or with and without the border, ``(2, 64, 64)``.
        shapes: Height and width of each thumbnail's photo, of which the larger is `MIN_SIDE`.
    """

    brightness: Hashes
    colour: Hashes
    thumbnails: NDArray[np.uint8]
    shapes: NDArray[np.uint8]


def hash_photo(photo: Image.Image) -> PerceptualHash | None:
    """Returns the hash of an upright RGB photo, or None if it is nearly one even colour."""
    box = _find_content(photo)
    whole = _hash_box(photo, (0, 0, *photo.size))
    content = _hash_box(photo, box) if box else None
    if whole is None or content is None:
        return whole
    return PerceptualHash(*(np.concatenate(both) for both in zip(whole, content, strict=True)))


def turn(hashes: NDArray[Any], *, mirrored: bool, flipped: bool, transposed: bool) -> NDArray[Any]:
    """Returns the frequencies of photos in another orientation: first transposed, then mirrored and flipped.

    Args:
        hashes: ``(..., frequencies, frequencies)``.
        mirrored: Whether left and right are swapped.
        flipped: Whether top and bottom are swapped.
        transposed: Whether rows and columns are swapped.
    """
    turned = (hashes.swapaxes(-1, -2) if transposed else hashes).copy()
    if mirrored:
        turned[..., 1::2] *= -1
    if flipped:
        turned[..., 1::2, :] *= -1
    return turned


def _hash_box(photo: Image.Image, box: tuple[int, int, int, int]) -> PerceptualHash | None:
    small = photo.resize((MIN_SIDE, MIN_SIDE), Image.Resampling.BOX, box=box).convert("YCbCr")
    pixels = np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1), np.float32) - 128
    if pixels[0].std() < _FLAT:
        return None
    width, height = box[2] - box[0], box[3] - box[1]
    longer = max(width, height)
    shape = (round(MIN_SIDE * height / longer), round(MIN_SIDE * width / longer))
    brightness, colour = _Transform.for_shape(*shape).apply(pixels)
    brightness *= _WEIGHTS
    largest = np.abs(brightness).max(axis=(1, 2), keepdims=True)
    return PerceptualHash(
        np.rint(127 / np.maximum(largest, 1e-6) * brightness).astype(np.int8).reshape(PARTS, -1),
        np.rint(colour.clip(-127, 127)).astype(np.int8).reshape(PARTS, -1),
        np.asarray(small.getchannel(0))[None],
        np.array([shape], np.uint8),
    )


def place_part(shape: NDArray[np.uint8], part: int) -> NDArray[np.float32]:
    """Returns where a part lies in its photo, as `zoo.data.check.alignment` describes.

    Args:
        shape: As in `PerceptualHash`.
        part: The index of the part.
    """
    (top, bottom), (left, right) = _list_parts(*shape.tolist())[part]
    horizontal, vertical = ((right - left, 0, right + left - MIN_SIDE), (0, bottom - top, bottom + top - MIN_SIDE))
    return np.array([horizontal, vertical], np.float32) / np.float32(MIN_SIDE)


class _Transform(NamedTuple):
    """The cosine transforms of all parts of a photo.

    Attributes:
        down: For each interval of rows that parts have, ``(intervals, frequencies, side)``.
        rows: The interval of rows of each part.
        across: For the columns of each part, ``(parts, side, frequencies)``.
    """

    down: NDArray[np.float32]
    rows: NDArray[np.int64]
    across: NDArray[np.float32]

    @classmethod
    @lru_cache(maxsize=256)
    def for_shape(cls, height: int, width: int) -> _Transform:
        """Returns the transform of photos with a ratio of height to width, of which the larger is `MIN_SIDE`."""
        parts = _list_parts(height, width)
        intervals = sorted({rows for rows, _ in parts})
        down = np.stack([_cosines(*rows) for rows in intervals])
        across = np.stack([_cosines(*columns).T for _, columns in parts])
        return cls(down, np.array([intervals.index(rows) for rows, _ in parts]), across)

    def apply(self, pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Returns the lowest frequencies of each part, ``(parts, [2,] frequencies, frequencies)``.

        Products of single parts are so small that BLAS uses no threads for them: those would wait for each other.

        Args:
            pixels: The brightness and the two colour differences, ``(3, side, side)``.
        """
        brightness = (self.down @ pixels[0])[self.rows] @ self.across
        colour_rows = (self.down[:, :COLOUR_FREQUENCIES] @ np.hstack([pixels[1], pixels[2]]))[self.rows]
        both = colour_rows.reshape(PARTS, COLOUR_FREQUENCIES * 2, MIN_SIDE) @ self.across[:, :, :COLOUR_FREQUENCIES]
        return brightness, both.reshape(PARTS, COLOUR_FREQUENCIES, 2, COLOUR_FREQUENCIES).swapaxes(1, 2)


@lru_cache(maxsize=512)
def _cosines(start: int, stop: int) -> NDArray[np.float32]:
    """Returns the first rows of the cosine transform DCT-II of an interval; its coefficients are those of a mean."""
    length = stop - start
    steps = np.outer(np.arange(FREQUENCIES), np.arange(length) + 0.5)
    scales = np.where(np.arange(FREQUENCIES) > 0, np.sqrt(2), 1)[:, None] / length
    cosines = np.zeros((FREQUENCIES, MIN_SIDE), np.float32)
    cosines[:, start:stop] = scales * np.cos(np.pi / length * steps)
    return cosines


@lru_cache(maxsize=256)
def _list_parts(height: int, width: int) -> list[tuple[Interval, Interval]]:
    """Returns the rows and columns of each part of a photo of this shape on the grid; the whole first."""
    whole = (0, MIN_SIDE)
    parts = [(whole, whole)]
    parts += [(_interval(share, 0.5), _interval(share, 0.5)) for share in _CENTRES]
    for share in _CORNERS:
        ends = _interval(share, 0), _interval(share, 1)
        parts += [(rows, columns) for rows in ends for columns in ends]
    for share in _SIDES:
        for end in (_interval(share, 0), _interval(share, 1)):
            parts += [(end, whole), (whole, end)]
    square = min(height, width)
    parts += [(_interval(share * square / height, 0.5), _interval(share * square / width, 0.5)) for share in _SQUARES]
    return parts


def _interval(share: float, place: float) -> Interval:
    """Returns an interval of the grid by its share, from 0 at the start to 1 at the end."""
    length = max(FREQUENCIES, round(share * MIN_SIDE))
    start = round((MIN_SIDE - length) * place)
    return start, start + length


PARTS = len(_list_parts(1, 1))
# High frequencies are faint, but tell photos apart; the mean is no property of the content.
_WEIGHTS = np.hypot(*np.indices((FREQUENCIES, FREQUENCIES))).astype(np.float32)


def _find_content(photo: Image.Image) -> tuple[int, int, int, int] | None:
    """Returns the box of a photo within its border of even colour; None without a border or without content."""
    pixels = np.asarray(photo)
    top, left = _measure_border(pixels), _measure_border(pixels.swapaxes(0, 1))
    bottom, right = _measure_border(pixels[::-1]), _measure_border(pixels.swapaxes(0, 1)[::-1])
    box = (left, top, photo.width - right, photo.height - bottom)
    return box if any((left, top, right, bottom)) else None


def _measure_border(lines: NDArray[np.uint8]) -> int:
    """Returns how many lines at the start have one even colour: at most a third, so that content remains.

    One more line is a mixture of border and content: the photo was made smaller.
    """
    colour, width = lines[0, lines.shape[1] // 2].astype(np.int16), 0
    for line in lines[: len(lines) // 3]:
        outliers = np.count_nonzero((np.abs(line - colour) > _BORDER_TOLERANCE).any(axis=-1))
        if outliers > _BORDER_OUTLIERS * len(line):
            break
        width += 1
    return width + 1 if width else 0
