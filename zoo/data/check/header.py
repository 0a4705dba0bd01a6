"""What the header of an image file tells, before a pixel is decoded: format, size, and what will be done with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from zoo.data.images.decode import open_header, read_orientation

if TYPE_CHECKING:
    from PIL import Image

# What a photo can have about it, and what becomes of it on its way to the network (zoo.data.images.decode, zoo.data.images.colour).
TREATMENTS = {
    "greyscale": "their grey becomes all three channels",
    "CMYK": "converted to sRGB, by their ICC profile where they have one",
    "transparency": "laid over white",
    "more than 8 bits a channel": "scaled to 8 bits",
    "turned by EXIF": "turned upright",
    "several frames": "the first one is taken",
}
# By format as Pillow calls it: the suffixes that go with it, the usual one first.
SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),  # a JPEG with further pictures behind it, as phones write it
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif"),
    "BMP": (".bmp", ".dib"),
    "DIB": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "JPEG2000": (".jp2", ".j2k", ".jpx", ".jpf"),
    "ICO": (".ico",),
    "TGA": (".tga",),
}
_GREY = ("1", "L", "LA", "La", "I", "F")
_DEEP = ("I", "F")
_ON_ITS_SIDE = (5, 6, 7, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What is known of an image without decoding it.

    Attributes:
        format: As Pillow calls it: ``"JPEG"``.
        width: In pixels, as a person sees the photo: turned upright.
        height: In pixels, likewise.
        traits: Those of `TREATMENTS` that it has.
    """

    format: str
    width: int
    height: int
    traits: tuple[str, ...] = ()

    def has_suffix_of_another(self, name: str) -> bool:
        """Tells whether a file's name says that it is of another format than it is."""
        return PurePath(name).suffix.lower() not in SUFFIXES[self.format]


def read_header(data: bytes) -> Header | None:
    """Returns what the header of an image file tells, or None where the bytes do not begin like an image."""
    try:
        with open_header(data) as image:
            # Asked for the EXIF data of a PNG, Pillow decodes all of it, to look behind the pixels as well.
            turn = 1 if image.format == "PNG" and "exif" not in image.info else read_orientation(image)
            size = image.size[::-1] if turn in _ON_ITS_SIDE else image.size
            return Header(
                format=str(image.format),
                width=size[0],
                height=size[1],
                traits=tuple(_traits(image, turned=1 < turn <= 8)),
            )
    except Exception:  # Pillow answers broken files with almost any exception; decoding them tells what is wrong
        return None


def _traits(image: Image.Image, *, turned: bool) -> list[str]:
    base = image.mode.partition(";")[0]
    has = (
        base in _GREY,
        base == "CMYK",
        image.has_transparency_data,
        base in _DEEP or _is_deep(image),
        turned,
        bool(getattr(image, "is_animated", False)),
    )
    return [trait for trait, there in zip(TREATMENTS, has, strict=True) if there]


def _is_deep(image: Image.Image) -> bool:
    """Tells colour of 16 bits, which Pillow opens as 8, by what its decoder is told."""
    tiles = getattr(image, "tile", None)
    if not tiles:
        return False
    codec, arguments = tiles[0][0], tiles[0][3]
    mode, *rest = arguments if isinstance(arguments, tuple) else (arguments,)
    return ";16" in str(mode) or (codec == "ppm" and rest[0] > 255)
