"""The one image entrance: a file, or the bytes of one, becomes upright uint8 RGB pixels or an `ImageError`.

Training, prediction, demo and API all come through here, so that all of them see the same pixels.
"""

from __future__ import annotations

import functools
import io
import stat
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from zoo.data.images.budget import PixelBudget
from zoo.data.images.colour import to_rgb
from zoo.data.images.limits import DearError, check_bytes, check_opened
from zoo.errors import ImageError

if TYPE_CHECKING:
    from zoo.preprocess import Preprocess

MAX_PIXELS = 100_000_000
MAX_BYTES = 256 * 2**20
# Of all threads together: at up to 20 bytes a pixel while it is decoded and converted, 8 GB.
_budget = PixelBudget(400_000_000)
# Left out on purpose: formats whose Pillow plugin starts another program (EPS) or that hold no photos.
_FORMATS = "JPEG MPO PNG GIF WEBP AVIF HEIF BMP DIB TIFF PPM JPEG2000 ICO TGA".split()  # noqa: SIM905
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
_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
# Beyond so many pixels (a 1 x 4000 strip at 256 px would have 262 million) only the crop is computed.
_MAX_RESIZED_PIXELS = 32_000_000
Pixels = npt.NDArray[np.uint8]
Pair = tuple[int, int]


def decode(
    source: Path | bytes, *, name: str | None = None, max_pixels: int = MAX_PIXELS, enough: int | None = None
) -> Pixels:
    """Reads an image as a person sees it: uint8 RGB, shape (height, width, 3), writable.

    The orientation in its EXIF data is applied (broken EXIF is ignored); transparency lies over white; 16 bits are
    scaled; CMYK and other colour spaces become sRGB; of an animation the first frame is taken. Safe to call from
    several threads at once.

    Args:
        source: A file, or the bytes of one.
        name: What to call the image in messages; by default the path.
        max_pixels: Larger images are refused before they are decoded.
        enough: A shorter side, in pixels, that is enough: of a JPEG at least twice that large, only a half, a quarter
            or an eighth of the frequencies is decoded, in a fraction of the time. So that nothing is moved, both its
            sides must be multiples of that.

    Raises:
        ImageError: Not an image, truncated, corrupt, empty or too large; the message says which file and why.
    """
    return np.array(open_image(source, name=name, max_pixels=max_pixels, enough=enough))


def open_image(
    source: Path | bytes,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    enough: int | None = None,
    rough: bool = False,
) -> Image.Image:
    """Does what `decode` does, and returns a loaded Pillow image of mode RGB; raises as `decode`.

    With `rough`, for what is only looked at, `enough` holds for JPEGs of any size, though things move by half a pixel.
    """
    name = name or (str(source) if isinstance(source, Path) else "image")
    data = read_bytes(source, name=name)
    try:
        with open_header(data) as image:
            if image.width * image.height > max_pixels:
                raise _too_large(name, f"{image.width} x {image.height} pixels", f"{max_pixels:,} pixels")
            if enough is not None and (part := _fraction(image.size, enough, rough=rough)) > 1:
                image.draft(None, (image.width // part, image.height // part))  # does nothing but to JPEGs
            with _budget.taken(image.width * image.height):
                check_opened(image, data)
                image.load()
                turn = _UPRIGHT.get(orientation(image))
                rgb = to_rgb(image)
                return rgb if turn is None else rgb.transpose(turn)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(f"{name}: {_guess(data)}.", hint="JPEG, PNG, WebP, GIF, BMP and TIFF can be read.") from None
    except DearError as error:
        raise ImageError(
            f"{name}: it is made to be dear to read: {error}.", hint="Save it anew with another program."
        ) from None
    except Image.DecompressionBombError:
        raise _too_large(name, "far too many pixels", f"{max_pixels:,} pixels") from None
    except MemoryError:
        raise ImageError(f"{name}: there is not enough memory to decode it.", hint="Make the image smaller.") from None
    # Pillow's decoders answer broken files with almost any exception: SyntaxError, struct.error, IndexError, ...
    except Exception as error:
        reason = str(error).rstrip(".") or type(error).__name__
        raise ImageError(f"{name}: the image is broken ({reason}).", hint="Replace or delete the file.") from error


def _fraction(size: tuple[int, int], enough: int, *, rough: bool) -> int:
    """Returns by how much a JPEG decoder can divide both sides, and leave the shorter one long enough; 1 for not."""
    large = (part for part in (8, 4, 2) if min(size) >= part * enough)
    return next((part for part in large if rough or not any(side % part for side in size)), 1)


def open_header(data: bytes) -> Image.Image:
    """Opens an image of one of the formats that are let in; no pixel is decoded.

    Raises:
        DearError: It is made to be dear to open.
        Exception: Whatever Pillow raises.
    """
    _quieten_pillow()
    check_bytes(data)
    return Image.open(io.BytesIO(data), formats=_formats())


def read_bytes(source: Path | bytes, *, name: str) -> bytes:
    """Returns the content of a file, which is neither empty nor larger than `MAX_BYTES`.

    Raises:
        ImageError: It cannot be read, is no regular file, empty or too large; the message begins with `name`.
    """
    if isinstance(source, bytes):
        size, data = len(source), source
    else:
        try:
            info = source.stat()
            # A named pipe would block for ever.
            if not stat.S_ISREG(info.st_mode):
                raise ImageError(f"{name}: not a file.", hint="Give the path of one image.")
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


def preprocess(pixels: Pixels, spec: Preprocess) -> Pixels:
    """Resizes and crops an image to the input size of a network, exactly as torchvision does on Pillow images.

    The resize is Pillow's, antialiased, on uint8. Aspect is kept in whole numbers: beside a side of ``resize`` the
    other one becomes ``resize * other // this`` (at least 1). The crop begins at ``round((length - size) / 2)``, half
    to even. Where the image is smaller than the crop it is padded, the odd pixel going right and below: with the mean
    colour in mode ``"longer"``, else, as torchvision's CenterCrop does, with black.

    Args:
        pixels: uint8 RGB, (height, width, 3).
        spec: Of the network; `mean` and `std` are not applied here.

    Returns:
        uint8 RGB, ``(*spec.size, 3)``.
    """
    image = Image.fromarray(pixels)
    height, width = spec.size
    (top, left, box_height, box_width), (rows, columns), (row, column) = centre_window(pixels.shape[:2], spec)
    if (box_height, box_width) != pixels.shape[:2]:
        image = image.crop((left, top, left + box_width, top + box_height))
    image = image.resize((columns, rows), _RESAMPLING[spec.interpolation])
    if rows >= height and columns >= width:
        return np.array(image.crop((column, row, column + width, row + height)))
    canvas = Image.new("RGB", (width, height), fill_colour(spec) if spec.resize_mode == "longer" else 0)
    canvas.paste(image, (-column, -row))
    return np.array(canvas)


def fill_colour(spec: Preprocess) -> tuple[int, ...]:
    """Returns the mean colour, 0 to 255: what lies beyond a photo."""
    return tuple(round(255 * channel) for channel in spec.mean)


def centre_window(size: tuple[int, ...], spec: Preprocess) -> tuple[tuple[int, int, int, int], Pair, Pair]:
    """Returns what `preprocess` looks at, of a photo of `size` (height, width).

    Returns:
        The box that is resized: top, left, height, width; the (height, width) that it is resized to; and the (row,
        column) where the window of `spec.size` begins in that, negative where it is smaller.
    """
    if spec.resize_mode == "squash":
        return (0, 0, *size), spec.size, (0, 0)  # type: ignore[return-value]
    one = min(size) if spec.resize_mode == "shorter" else max(size)
    resized = [max(1, spec.resize * side // one) for side in size]
    box = [(0, side) for side in size]
    if resized[0] * resized[1] > _MAX_RESIZED_PIXELS:
        parts = [_middle(*lengths) for lengths in zip(size, resized, spec.size, strict=True)]
        box, resized = [(start, length) for start, length, _ in parts], [target for *_, target in parts]
    row, column = (
        round((have - want) / 2) if have >= want else -((want - have) // 2)
        for have, want in zip(resized, spec.size, strict=True)
    )
    (top, height), (left, width) = box
    return (top, left, height, width), (resized[0], resized[1]), (row, column)


def _middle(length: int, resized: int, wanted: int) -> tuple[int, int, int]:
    """Cuts off both ends of a very long side what the centre crop would drop anyway, in whole pixels.

    Returns:
        Where what is left begins, its length, and its length once it is resized.
    """
    # A few source pixels of margin, so that the filter meets the same neighbours at the edge of the crop.
    cut = max(0, (length - wanted * length // resized) // 2 - 4)
    left = length - 2 * cut
    return cut, left, max(1, resized * left // length)


def _too_large(name: str, what: str, limit: str) -> ImageError:
    return ImageError(f"{name}: it has {what}, more than the limit of {limit}.", hint="Make the image smaller.")


def orientation(image: Image.Image) -> int:
    """Returns how the EXIF data of an image says that it lies, 1 to 8; 1, upright, where they are missing or broken."""
    # After load(): Pillow itself turns TIFFs there, and PNGs may carry their EXIF data behind the pixels.
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # Broken EXIF raises almost anything, and says nothing about the pixels.
        return 1


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


_quiet_lock = threading.Lock()


def _quieten_pillow() -> None:
    """Lets no warning of Pillow's out: it warns of broken metadata, which is no news to anyone here.

    The filter stays: before Python 3.14 `warnings.catch_warnings` is not safe in several threads.
    """
    with _quiet_lock:
        first = warnings.filters[0] if warnings.filters else None
        if first is None or first[0] != "ignore" or getattr(first[3], "pattern", None) != r"PIL\.":
            warnings.filterwarnings("ignore", module=r"PIL\.")


def _guess(data: bytes) -> str:
    """Says what a file is that Pillow does not know."""
    head = data[:512].lstrip().lower()
    if data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heif"):
        return "HEIC photos cannot be read; save it as JPEG"
    if head.startswith((b"<!doctype html", b"<html")):
        return "it is a web page, not an image"
    if b"<svg" in head:
        return "it is an SVG drawing, not a photo"
    if not data.strip(b"\0"):
        return "it holds nothing but zeros"
    return "it is not an image, or of a kind that cannot be read, or its beginning is broken"
