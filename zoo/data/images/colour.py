"""Converts images of any Pillow mode to the RGB that a person sees."""

from __future__ import annotations

import functools
import io
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

# Transparent pixels show the background; on the web and on paper it is white.
BACKGROUND = (255, 255, 255)
_TIFF_BITS_PER_SAMPLE = 258
_TIFF_PHOTOMETRIC = 262
_WHITE_IS_ZERO = 0
BAND = 4_000_000  # pixels converted at a time
_MAX_PROFILE = 8 << 20  # bytes; those of printers have up to three million
_MAX_STAGES = 64  # of a calculation in an ICC profile, each of which lcms applies to tens of thousands of colours
# Measured on images without equal neighbours, of which lcms converts only one: by a matrix, or else by tables.
_PIXEL_SECONDS = {"matrix": 2.5e-8, "RGB": 5e-8, "CMYK": 7.5e-8}
Values = npt.NDArray[Any]  # uint16, int32 or float32 (H, W)
Grey = npt.NDArray[np.uint8]


def to_rgb(image: Image.Image) -> Image.Image:
    """Returns a loaded image in mode RGB, the same one if nothing has to be converted.

    Scales deep grey (12, 16 and 32 bits, floats) by the range that its format declares, without clipping; composites
    transparency over white; applies the embedded ICC profile of an RGB or CMYK image, and ignores a broken one, as
    image viewers do.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        return _deep_grey(image)
    profile = image.info.get("icc_profile")
    if image.has_transparency_data:
        image = _flatten(image)
    elif image.mode not in ("RGB", "CMYK"):
        image = image.convert("RGB")
    if isinstance(profile, bytes) and (conversion := _to_srgb(profile, image.mode)) is not None:
        return ImageCms.applyTransform(image, conversion.transform) or image
    return image if image.mode == "RGB" else image.convert("RGB")


def split_rows(size: tuple[int, int]) -> Iterator[slice]:
    """Yields slices of the rows of an image of this width and height, to bound the memory of what is computed."""
    width, height = size
    step = max(1, BAND // max(1, width))
    yield from (slice(start, min(start + step, height)) for start in range(0, height, step))


def crop_rows(image: Image.Image, rows: slice) -> Image.Image:
    """Returns a copy of some rows of an image."""
    return image.crop((0, rows.start, image.width, rows.stop))


def _flatten(image: Image.Image) -> Image.Image:
    key = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(key, tuple) and max(key) > 255:
        # In a 16-bit PNG Pillow keeps the high byte of the pixels, but both bytes of the transparent colour.
        image.info["transparency"] = tuple(value >> 8 for value in key)
    flat = Image.new("RGB", image.size)
    for rows in split_rows(image.size):
        band = crop_rows(image, rows).convert("RGBA")
        background = Image.new("RGBA", band.size, BACKGROUND)
        flat.paste(Image.alpha_composite(background, band).convert("RGB"), (0, rows.start))
    return flat


def _deep_grey(image: Image.Image) -> Image.Image:
    tags = getattr(image, "tag_v2", {})
    to_8_bits = _shift(tags) if image.mode.startswith("I;16") else _scale(image)
    key = image.info.get("transparency")
    grey = Image.new("L", image.size)
    for rows in split_rows(image.size):
        values = np.asarray(crop_rows(image, rows))
        band = to_8_bits(values)
        if tags.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO:
            band = 255 - band
        if isinstance(key, int):
            band[values == key] = 255
        grey.paste(Image.fromarray(band), (0, rows.start))
    return grey.convert("RGB")


def _shift(tags: Mapping[int, Any]) -> Callable[[Values], Grey]:
    bits = min(max(tags.get(_TIFF_BITS_PER_SAMPLE, (16,))[0], 8), 16)
    return lambda values: np.minimum(values >> (bits - 8), 255).astype(np.uint8)


def _scale(image: Image.Image) -> Callable[[Values], Grey]:
    """Scales 32-bit integers and floats. No format declares their white: 1, 255, 65535, or the brightest pixel."""
    whole = image.mode != "F"
    if not whole and not any(np.isfinite(np.asarray(crop_rows(image, rows))).any() for rows in split_rows(image.size)):
        raise ValueError("all of its pixels are NaN or infinite")
    bands = (_real(np.asarray(crop_rows(image, rows))) for rows in split_rows(image.size))
    ranges = [(float(band.min()), float(band.max())) for band in bands]
    black, peak = min(0.0, *(low for low, _ in ranges)), max(high for _, high in ranges)
    white = next((white for white in (255.0, 65535.0) if peak <= white), peak) if whole or peak > 1 else 1.0
    return lambda values: ((_real(values) - black) * (255 / (white - black))).round().clip(0, 255).astype(np.uint8)


def _real(values: Values) -> npt.NDArray[np.float64]:
    return np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def profile_seconds(image: Image.Image) -> float:
    """Returns the seconds that the embedded ICC profile of an image, which need not be loaded, adds to each pixel."""
    profile, mode = image.info.get("icc_profile"), image.mode
    if not isinstance(profile, bytes) or mode == "F" or mode.startswith("I"):
        return 0.0
    mode = "CMYK" if mode == "CMYK" and not image.has_transparency_data else "RGB"
    conversion = _to_srgb(profile, mode)
    return 0.0 if conversion is None else conversion.seconds


class _Conversion(NamedTuple):
    transform: ImageCms.ImageCmsTransform
    seconds: float  # for each pixel


@functools.lru_cache(maxsize=16)
def _to_srgb(profile: bytes, mode: str) -> _Conversion | None:
    """Returns the transform from an ICC profile to sRGB; None if there is nothing to do or the profile is unusable."""
    if len(profile) > _MAX_PROFILE or _count_stages(profile) > _MAX_STAGES:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != mode or "sRGB" in ImageCms.getProfileDescription(source):
            return None
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        return _Conversion(transform, _PIXEL_SECONDS["matrix" if source.profile.is_matrix_shaper else mode])
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


def _count_stages(profile: bytes) -> int:
    """Returns the stages of the longest calculation in an ICC profile (ICC.1:2022, section 10.16); 0 if it has none.

    Stages may share their bytes, so that a small profile can have millions.
    """
    count = min(int.from_bytes(profile[128:132]), max(0, len(profile) - 132) // 12)
    tags = struct.iter_unpack(">4sLL", profile[132 : 132 + 12 * count])
    starts = [start for _, start, _ in tags if profile.startswith(b"mpet", start)]
    return max((int.from_bytes(profile[start + 12 : start + 16]) for start in starts), default=0)
