"""By what a photo is recognised after it was saved anew, resized or slightly cropped: two perceptual hashes of 64 bits.

dHash compares neighbours in a row of 9 x 8 grey values: Krawetz 2013, https://www.hackerfactor.com/blog/?/archives/529.
pHash compares the 8 x 8 lowest frequencies of a cosine transform with their median: Zauner 2010,
https://www.phash.org/docs/pubs/thesis_zauner.pdf. Either alone takes unlike photos for like; both together hardly do,
and a look at the colours, which neither knows, takes out the rest (docs/data.md has the figures).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The shorter side, in pixels, that is enough of a photo; see `zoo.data.images.decode.decode`. At 32 the hashes of a photo and
# of a smaller copy differ by up to 13 bits of 128, at 64 by 6.
ENOUGH = 64
BITS = 128
_ROWS, _COLUMNS = 32, 36  # both hashes are made of so many grey values: 9 x 8 blocks of 4 x 4 of them for dHash
_FREQUENCIES = 8
_FLAT = 3.0  # grey levels, of 255: a photo that varies less, in root mean square, looks like any other such photo


class Signature(NamedTuple):
    """By what a photo is recognised.

    Attributes:
        dhash: 64 bits.
        phash: 64 bits.
        colours: The photo in 8 rows of 9 RGB values, 216 bytes.
    """

    dhash: int
    phash: int
    colours: bytes


def sign(photo: Image.Image) -> Signature | None:
    """Returns the signature of an upright photo, or None where it is one even colour, as good as."""
    small = photo.resize((_COLUMNS, _ROWS), Image.Resampling.BOX)
    grey = np.asarray(small.convert("L"), np.float32)
    if grey.std() < _FLAT:
        return None
    blocks = grey.reshape(8, 4, 9, 4).mean(axis=(1, 3))
    frequencies = (_DOWN @ grey @ _ACROSS.T).ravel()
    median = np.partition(frequencies[1:], 31)[31]  # without the first, which is the mean of all: brightness
    return Signature(
        dhash=_number(blocks[:, 1:] > blocks[:, :-1]),
        phash=_number(frequencies > median),
        colours=small.resize((9, 8), Image.Resampling.BOX).tobytes(),
    )


def _cosines(length: int) -> NDArray[np.float32]:
    """Returns the first rows of the cosine transform DCT-II of a length, ``(8, length)``."""
    steps = np.outer(np.arange(_FREQUENCIES), np.arange(length) + 0.5)
    return np.cos(np.pi / length * steps).astype(np.float32)


_DOWN, _ACROSS = _cosines(_ROWS), _cosines(_COLUMNS)


def _number(bits: NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
