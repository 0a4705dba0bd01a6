"""Decodes a file, or its bytes, to upright uint8 RGB pixels; raises `ImageError` for anything else.

Training, prediction, demo and API all decode images here, so all of them see the same pixels.
"""

from __future__ import annotations

import functools
import importlib
import io
import stat
import threading
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from zoo.data.images.colour import crop_rows, split_rows, to_rgb
from zoo.data.images.formats import (
    HEIC,
    START,
    advise,
    describe_unreadable,
    reads_heic,
    starts_like_heic,
    unreadable_content,
    unreadable_format,
)
from zoo.data.images.limits import ExpensiveImageError, check_bytes, check_opened
from zoo.data.images.tiff_messages import collected_messages
from zoo.data.images.workload import MAX_MEMORY, MemoryBudget, default_budget, estimate_workload
from zoo.errors import ImageError, ImageWarning
from zoo.utils.files import LFS_POINTER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zoo.data.images.workload import Workload

MAX_PIXELS = 100_000_000
MAX_BYTES = 256 * 2**20
# For all threads together: what decoders take, and the files themselves. A thread never waits for a file while it holds
# memory of the first kind, so the two cannot block each other.
_decoders, _files = MemoryBudget(default_budget()), MemoryBudget(4 * MAX_BYTES)
_LOADED_BYTES = 20  # of a pixel, to convert an image that another program has opened
# Deliberately without formats whose Pillow plugin starts another program (EPS) or that contain no photos.
_FORMATS = "JPEG MPO PNG GIF WEBP AVIF HEIF BMP DIB TIFF PPM JPEG2000 ICO TGA".split()  # noqa: SIM905
_SCALABLE = ("JPEG", "MPO")  # for HEIC photos, draft() selects the embedded thumbnail instead
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]


def decode(
    source: Path | bytes, *, name: str | None = None, max_pixels: int = MAX_PIXELS, min_side: int | None = None
) -> Pixels:
    """Decodes an image as a person sees it: uint8 RGB, shape (height, width, 3), writable.

    Applies the EXIF orientation (ignores broken EXIF), composites transparency over white, scales 16 bits to 8,
    converts CMYK and other colour spaces to sRGB, and takes the first frame of an animation. Thread-safe.

    Args:
        source: A file, or the bytes of one.
        name: Name of the image in error messages; the path by default.
        max_pixels: Larger images are refused before they are decoded.
        min_side: A shorter side, in pixels, that suffices. A JPEG at least twice as large is decoded at 1/2, 1/4 or 1/8
            of its size, in a fraction of the time, provided that both sides are multiples of the divisor; otherwise
            the content would shift.

    Raises:
        ImageError: Not an image, truncated, corrupt, empty or too large; the message names the file and the reason.
    """
    with _opened(source, name=name, max_pixels=max_pixels, min_side=min_side, approximate=False) as image:
        return _to_array(_to_upright_rgb(image))


def open_image(
    source: Path | bytes,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    min_side: int | None = None,
    approximate: bool = False,
) -> Image.Image:
    """Decodes as `decode` does, and returns a loaded Pillow image of mode RGB; raises as `decode` does.

    With `approximate`, for thumbnails and the like, `min_side` applies to JPEGs of any size, although the content then
    shifts by up to half a pixel.
    """
    with _opened(source, name=name, max_pixels=max_pixels, min_side=min_side, approximate=approximate) as image:
        rgb = _to_upright_rgb(image)
        return image.copy() if rgb is image else rgb  # no image of the file's format, which holds its bytes


@contextmanager
def _opened(
    source: Path | bytes, *, name: str | None, max_pixels: int, min_side: int | None, approximate: bool
) -> Iterator[Image.Image]:
    """Yields a loaded image while the memory for its conversion is reserved; explains errors of the block, too."""
    name = name or (str(source) if isinstance(source, Path) else "image")
    with _files.reserve(_file_size(source)):
        data = read_bytes(source, name=name)
        try:
            with open_header(data) as image:
                size = image.size
                if image.width * image.height > max_pixels:
                    raise _too_large(name, f"{image.width} x {image.height} pixels", f"{max_pixels:,} pixels")
                divisor = 1 if min_side is None else _divisor(size, min_side, approximate=approximate)
                if divisor > 1 and image.format in _SCALABLE:
                    image.draft(None, (size[0] // divisor, size[1] // divisor))
                check_opened(image, data)
                with _decoders.reserve(_check_workload(name, estimate_workload(image, data, size))):
                    _load(image, name=name)
                    yield image
        except ImageError:
            raise
        except UnidentifiedImageError:
            reason, hint = _guess_content(data, name)
            raise ImageError(f"{name}: {reason}.", hint=hint) from None
        except ExpensiveImageError as error:
            raise ImageError(
                f"{name}: it appears crafted to be expensive to decode: {error}.",
                hint="Save it again in another program.",
            ) from None
        except Image.DecompressionBombError:
            raise _too_large(name, "far too many pixels", f"{max_pixels:,} pixels") from None
        except MemoryError:
            raise ImageError(f"{name}: not enough memory to decode it.", hint="Make the image smaller.") from None
        # Pillow's decoders raise almost anything on broken files: SyntaxError, struct.error, IndexError, ...
        except Exception as error:
            reason = str(error).rstrip(".") or type(error).__name__
            raise ImageError(f"{name}: the image is broken ({reason}).", hint="Replace or delete the file.") from error


def _check_workload(name: str, workload: Workload) -> int:
    """Returns the memory that decoding takes; raises `ImageError` if it takes too much, or too long."""
    hint = "Save it as JPEG or PNG, or make the image smaller."
    if workload.memory > MAX_MEMORY:
        needed, limit = workload.memory / 2**30, MAX_MEMORY / 2**30
        raise ImageError(f"{name}: decoding it takes {needed:.1f} GiB, more than the limit of {limit:.0f}.", hint=hint)
    if workload.seconds > workload.limit:
        raise ImageError(
            f"{name}: decoding it takes about {workload.seconds:,.0f} s, more than the limit of {workload.limit:.0f} s "
            "for a file of its size.",
            hint=hint,
        )
    return workload.memory


def _file_size(source: Path | bytes) -> int:
    """Returns the bytes that reading a file takes; 0 if there is nothing to read, or nothing that can be."""
    if isinstance(source, bytes):
        return 0
    try:
        return source.stat().st_size
    except (OSError, ValueError):  # reading it says what is wrong
        return 0


def convert_image(image: Image.Image, *, name: str = "image", max_pixels: int = MAX_PIXELS) -> Pixels:
    """Converts a Pillow image as `decode` does a file; applies its EXIF orientation, and loads it if necessary.

    Args:
        image: An image of any mode; not changed.
        name: Name of the image in error messages.
        max_pixels: Larger images are refused before they are loaded.

    Returns:
        uint8 RGB, shape (height, width, 3), writable.

    Raises:
        ImageError: The image is truncated, corrupt, closed, empty or too large.
    """
    try:
        if not image.width * image.height:
            raise ImageError(f"{name}: the image is empty.", hint="Pass an image that has pixels.")
        if image.width * image.height > max_pixels:
            raise _too_large(name, f"{image.width} x {image.height} pixels", f"{max_pixels:,} pixels")
        with _decoders.reserve(_LOADED_BYTES * image.width * image.height):
            _load(image, name=name)
            return _to_array(_to_upright_rgb(image))
    except ImageError:
        raise
    except MemoryError:
        raise ImageError(f"{name}: not enough memory to decode it.", hint="Make the image smaller.") from None
    except Exception as error:  # as in `open_image`; also ValueError if the image is closed
        reason = str(error).rstrip(".") or type(error).__name__
        raise ImageError(f"{name}: the image is broken ({reason}).", hint="Open it again, or replace it.") from error


def _load(image: Image.Image, *, name: str) -> None:
    """Decodes the pixels. What libtiff says is the reason why it fails, or else a warning about the photo."""
    if image.format != "TIFF":
        image.load()
        return
    with collected_messages() as messages:
        try:
            image.load()
        except Exception as error:
            if messages:
                raise OSError("; ".join(messages)) from error
            raise
    if messages:
        warnings.warn(f"{name}: the image is damaged ({'; '.join(messages)}).", ImageWarning, stacklevel=4)


def _to_upright_rgb(image: Image.Image) -> Image.Image:
    turn = _UPRIGHT.get(read_orientation(image))
    rgb = to_rgb(image)
    return rgb if turn is None else rgb.transpose(turn)


def _to_array(image: Image.Image) -> Pixels:
    """Returns the pixels of an RGB image; of a large one in bands, to avoid the two more copies that Pillow makes."""
    bands = list(split_rows(image.size))
    if len(bands) == 1:
        return np.array(image)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for rows in bands:
        pixels[rows] = np.asarray(crop_rows(image, rows))
    return pixels


def _divisor(size: Size, min_side: int, *, approximate: bool) -> int:
    """Returns the largest divisor of a JPEG's sides that leaves the shorter one long enough; 1 for none."""
    candidates = (divisor for divisor in (8, 4, 2) if min(size) >= divisor * min_side)
    return next((each for each in candidates if approximate or not any(side % each for side in size)), 1)


def open_header(data: bytes) -> Image.Image:
    """Opens an image in one of the accepted formats without decoding any pixel.

    Raises:
        ExpensiveImageError: It is crafted to be expensive to open.
        Exception: Anything that Pillow raises.
    """
    _silence_pillow()
    check_bytes(data)
    return Image.open(io.BytesIO(data), formats=_formats())


def read_bytes(source: Path | bytes, *, name: str) -> bytes:
    """Returns the content of an image file.

    Raises:
        ImageError: The file cannot be read, is not a regular file, is empty or is larger than `MAX_BYTES`; the message
            starts with `name`.
    """
    if isinstance(source, bytes):
        size, data = len(source), source
    else:
        try:
            info = source.stat()
            # Reading a named pipe would block forever.
            if not stat.S_ISREG(info.st_mode):
                raise ImageError(f"{name}: not a file.", hint="Pass the path of an image.")
            size = info.st_size
            data = source.read_bytes() if size <= MAX_BYTES else b""
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ImageError(
                f"{name}: cannot be read ({reason}).", hint="Check the path and its permissions."
            ) from None
    if size > MAX_BYTES:
        raise _too_large(name, f"{size / 2**20:.0f} MiB", f"{MAX_BYTES / 2**20:.0f} MiB")
    if not size:
        raise ImageError(f"{name}: the file is empty.", hint="Replace or delete the file.")
    return data


def _too_large(name: str, what: str, limit: str) -> ImageError:
    return ImageError(f"{name}: it has {what}, more than the limit of {limit}.", hint="Make the image smaller.")


def read_orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation of an image, 1 to 8; 1, upright, if its EXIF data is missing or broken."""
    # Call it after load(): Pillow itself rotates TIFFs there, and PNGs may have their EXIF data behind the pixels.
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # Broken EXIF data raises almost anything; the pixels may be fine.
        return 1


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    if reads_heic():
        importlib.import_module("pillow_heif").register_heif_opener()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


_quiet_lock = threading.Lock()


def _silence_pillow() -> None:
    """Silences Pillow's warnings about broken metadata.

    The filter is never removed: before Python 3.14, `warnings.catch_warnings` is not thread-safe.
    """
    with _quiet_lock:
        first = warnings.filters[0] if warnings.filters else None
        if first is None or first[0] != "ignore" or getattr(first[3], "pattern", None) != r"PIL\.":
            warnings.filterwarnings("ignore", module=r"PIL\.")


def _guess_content(data: bytes, name: str) -> tuple[str, str]:
    """Describes a file that Pillow does not recognise, by its content or else its name, and says what to do."""
    head = data[:512].lstrip().lower()
    if starts_like_heic(data[:START]):
        if reads_heic():
            return "the HEIC photo is broken", "Replace or delete the file."
        return describe_unreadable(HEIC), advise(HEIC)
    hint = "Supported formats include JPEG, PNG, WebP, GIF, BMP and TIFF."
    if unreadable := unreadable_content(data[:START]):
        return describe_unreadable(unreadable), advise(unreadable)
    if head.startswith(LFS_POINTER):
        return "it is a Git LFS pointer; 'git lfs pull' downloads the photo", hint
    if head.startswith((b"<!doctype html", b"<html")):
        return "it is a web page, not an image", hint
    if b"<svg" in head:
        return "it is an SVG drawing, not a photo", hint
    if not data.strip(b"\0"):
        return "it contains only zeros", hint
    if unreadable := unreadable_format(name):  # of a RAW photo nothing but the name may differ from a TIFF
        return describe_unreadable(unreadable), advise(unreadable)
    return "it is not an image, its format is not supported, or its header is broken", hint
