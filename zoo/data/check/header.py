"""Reads the header of an image file, without decoding pixels: format, size, and the conversions that it needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from zoo.data.images.decode import open_header, read_orientation
from zoo.data.images.formats import SUFFIXES

if TYPE_CHECKING:
    from PIL import Image

# Traits of a photo, each with what `zoo.data.images` does about it.
CONVERSIONS = {
    "greyscale": "the grey channel is copied to red, green and blue",
    "CMYK": "converted to sRGB, using the ICC profile if there is one",
    "transparency": "composited over white",
    "more than 8 bits per channel": "scaled to 8 bits",
    "rotated by EXIF": "turned upright",
    "several frames": "only the first frame is used",
}
_GREY = ("1", "L", "LA", "La", "I", "F")
_DEEP = ("I", "F")
_SIDEWAYS = (5, 6, 7, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The properties of an image as its header states them.

    Attributes:
        format: As Pillow names it: ``"JPEG"``.
        width: In pixels, of the upright photo.
        height: In pixels, of the upright photo.
        traits: Those of `CONVERSIONS` that apply.
    """

    format: str
    width: int
    height: int
    traits: tuple[str, ...] = ()

    def has_wrong_suffix(self, name: str) -> bool:
        """Returns whether the suffix of a file name belongs to another format."""
        return PurePath(name).suffix.lower() not in SUFFIXES[self.format]


def read_header(data: bytes) -> Header | None:
    """Returns the header of an image file, or None if the bytes do not start like an image."""
    try:
        with open_header(data) as image:
            # For the EXIF data of a PNG, Pillow would decode the whole image to look behind the pixels too.
            orientation = 1 if image.format == "PNG" and "exif" not in image.info else read_orientation(image)
            size = image.size[::-1] if orientation in _SIDEWAYS else image.size
            return Header(
                format=str(image.format),
                width=size[0],
                height=size[1],
                traits=tuple(_find_traits(image, rotated=1 < orientation <= 8)),
            )
    except Exception:  # Pillow raises almost anything on broken files; decoding reports what is wrong
        return None


def _find_traits(image: Image.Image, *, rotated: bool) -> list[str]:
    base = image.mode.partition(";")[0]
    has = (
        base in _GREY,
        base == "CMYK",
        image.has_transparency_data,
        base in _DEEP or _is_deep(image),
        rotated,
        bool(getattr(image, "is_animated", False)),
    )
    return [trait for trait, present in zip(CONVERSIONS, has, strict=True) if present]


def _is_deep(image: Image.Image) -> bool:
    """Returns whether a colour image has 16 bits, by its decoder's arguments: Pillow opens it with 8 bits."""
    tiles = getattr(image, "tile", None)
    if not tiles:
        return False
    codec, arguments = tiles[0][0], tiles[0][3]
    mode, *rest = arguments if isinstance(arguments, tuple) else (arguments,)
    return ";16" in str(mode) or (codec == "ppm" and rest[0] > 255)
