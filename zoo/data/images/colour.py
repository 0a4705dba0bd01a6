"""Converts images of any Pillow mode to the RGB that a person sees."""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING, Any

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
_BAND = 4_000_000  # pixels converted at a time
Values = npt.NDArray[Any]  # uint16, int32 or float32 (H, W)
Grey = npt.NDArray[np.uint8]


def to_rgb(image: Image.Image) -> Image.Image:
    """Returns a loaded image in mode RGB.

    Scales deep grey (12, 16 and 32 bits, floats) by the range that its format declares, without clipping; composites
    transparency over white; applies the embedded ICC profile of an RGB or CMYK image, and ignores a broken one, as
    image viewers do.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        return _deep_grey(image)
    if image.has_transparency_data:
        profile = image.info.get("icc_profile")
        image = _flatten(image)
    else:
        profile = image.info.get("icc_profile")
        image = image if image.mode in ("RGB", "CMYK") else image.convert("RGB")
    if isinstance(profile, bytes) and (transform := _to_srgb(profile, image.mode)) is not None:
        return ImageCms.applyTransform(image, transform) or image
    return image.convert("RGB")


def _flatten(image: Image.Image) -> Image.Image:
    key = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(key, tuple) and max(key) > 255:
        # In a 16-bit PNG Pillow keeps the high byte of the pixels, but both bytes of the transparent colour.
        image.info["transparency"] = tuple(value >> 8 for value in key)
    background = Image.new("RGBA", image.size, BACKGROUND)
    return Image.alpha_composite(background, image.convert("RGBA")).convert("RGB")


def _deep_grey(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    to_8_bits = _shift(tags) if image.mode.startswith("I;16") else _scale(values)
    key = image.info.get("transparency")
    grey = np.empty(values.shape, np.uint8)
    for rows in _bands(values.shape):
        grey[rows] = to_8_bits(values[rows])
        if tags.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO:
            grey[rows] = 255 - grey[rows]
        if isinstance(key, int):
            grey[rows][values[rows] == key] = 255
    return Image.fromarray(grey).convert("RGB")


def _bands(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yields slices of rows, to bound the memory for pixels in double precision."""
    step = max(1, _BAND // max(1, shape[1]))
    yield from (slice(start, start + step) for start in range(0, shape[0], step))


def _shift(tags: Mapping[int, Any]) -> Callable[[Values], Grey]:
    bits = min(max(tags.get(_TIFF_BITS_PER_SAMPLE, (16,))[0], 8), 16)
    return lambda values: np.minimum(values >> (bits - 8), 255).astype(np.uint8)


def _scale(values: Values) -> Callable[[Values], Grey]:
    """Scales 32-bit integers and floats. No format declares their white: 1, 255, 65535, or the brightest pixel."""
    whole = values.dtype.kind == "i"
    ranges = [(float(real.min()), float(real.max())) for rows in _bands(values.shape) for real in [_real(values[rows])]]
    black, peak = min(0.0, *(low for low, _ in ranges)), max(high for _, high in ranges)
    white = next((white for white in (255.0, 65535.0) if peak <= white), peak) if whole or peak > 1 else 1.0
    return lambda values: ((_real(values) - black) * (255 / (white - black))).round().clip(0, 255).astype(np.uint8)


def _real(values: Values) -> npt.NDArray[np.float64]:
    return np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


@functools.lru_cache(maxsize=16)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Returns the transform from an ICC profile to sRGB; None if there is nothing to do or the profile is unusable."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != mode or "sRGB" in ImageCms.getProfileDescription(source):
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
