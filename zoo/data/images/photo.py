"""Decodes a photo in any form that Python code has at hand: paths, bytes, files, Pillow images, arrays of pixels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image

from zoo.data.images.decode import MAX_BYTES, convert_image, decode
from zoo.errors import ImageError
from zoo.utils.paths import missing_path_advice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Photo = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | NDArray[np.uint8]

_PIXELS = "RGB pixels, uint8 (H, W, 3), also gray (H, W) or with alpha (H, W, 4)"
_ACCEPTED = (
    "Pass a path, the bytes of an image file, a file opened in binary mode, a Pillow image, or an array of "
    f"{_PIXELS}; or a list of these."
)
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # by number of channels


def photo_name(photo: Photo, default: str = "photo") -> str:
    """Returns the name of a photo in messages: its path, or `default`."""
    if isinstance(photo, str | os.PathLike):
        return os.fsdecode(photo)
    path = getattr(photo, "filename", "") if isinstance(photo, Image.Image) else getattr(photo, "name", "")
    return path if isinstance(path, str) and path else default


def is_photo(value: object) -> bool:
    """Returns whether a value has the type of a single photo, rather than of several, or of something else."""
    kinds = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image, np.ndarray)
    return isinstance(value, kinds) or callable(getattr(value, "read", None))


def decode_photo(photo: Photo, *, name: str) -> NDArray[np.uint8]:
    """Decodes a photo to upright RGB pixels, uint8 ``(height, width, 3)``, as `zoo.data.images.decode.decode` does.

    Args:
        photo: A path (``~`` is expanded), the bytes of an image file, a file opened in binary mode, a Pillow image, or
            pixels, uint8: RGB ``(H, W, 3)``, gray ``(H, W)`` or ``(H, W, 1)``, with alpha ``(H, W, 4)``, ``(H, W, 2)``.
        name: Name of the photo in messages.

    Raises:
        ImageError: The photo cannot be read, or is of another type; the message starts with `name`.
    """
    value: Any = photo
    match value:
        case np.ndarray():
            return _convert_array(value, name=name)
        case Image.Image():
            return convert_image(value, name=name)
        case str() | os.PathLike():
            return _decode_file(os.path.expanduser(os.fsdecode(value)), name=name)  # noqa: PTH111
        case bytes() | bytearray() | memoryview():
            return decode(bytes(value), name=name)
        case _ if callable(getattr(value, "read", None)):
            return decode(read_file_object(value, name=name), name=name)
    hint = _ACCEPTED
    if hasattr(value, "__array__"):  # a tensor
        hint = f"{hint} numpy.asarray() converts a tensor on the CPU."
    raise ImageError(f"{name}: a photo cannot be of type {type(value).__name__}.", hint=hint)


def read_file_object(file: Any, *, name: str, max_bytes: int = MAX_BYTES) -> bytes:
    """Returns the content of an open file, from its start if it can seek; one byte more than `max_bytes` at most.

    Raises:
        ImageError: It cannot be read, or is not opened in binary mode.
    """
    try:
        if callable(getattr(file, "seek", None)) and file.seekable():
            file.seek(0)  # as Pillow does: a buffer that was just written is at its end
        content = file.read(max_bytes + 1)
    # Closed, not UTF-8, a connection that was lost, a damaged archive: files of other libraries raise anything.
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ImageError(f"{name}: cannot be read ({reason}).", hint=_ACCEPTED) from error
    if not isinstance(content, bytes):
        raise ImageError(
            f"{name}: the file returns {type(content).__name__}, not bytes.", hint="Open it with mode 'rb'."
        )
    return content


def _decode_file(text: str, *, name: str) -> NDArray[np.uint8]:
    try:
        return decode(Path(text), name=name)
    except ImageError as error:
        error.hint = missing_path_advice(text) or error.hint
        raise


def _convert_array(pixels: NDArray[Any], *, name: str) -> NDArray[np.uint8]:
    channels = 1 if pixels.ndim == 2 else pixels.shape[-1] if pixels.ndim == 3 else 0
    if pixels.dtype != np.uint8 or channels not in _MODES or not pixels.size:
        raise ImageError(
            f"{name}: the array is {pixels.dtype} {pixels.shape}, not uint8 (H, W, 3).",
            hint=f"Pass {_PIXELS}, from 0 to 255.{_describe_conversion(pixels)}",
        )
    if channels == 3:
        return pixels
    plain = np.ascontiguousarray(pixels[..., 0] if pixels.ndim == 3 and channels == 1 else pixels)
    size = (plain.shape[1], plain.shape[0])
    return convert_image(Image.frombytes(_MODES[channels], size, plain.tobytes()), name=name)


def _describe_conversion(pixels: NDArray[Any]) -> str:
    """Returns how to convert an array of another shape or type; empty if its meaning is not evident."""
    if not pixels.size:
        return ""
    if pixels.ndim == 4:
        return " For several photos, pass a list: list(array)."
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3, 4) and pixels.shape[2] not in _MODES:
        return " Put the channels last: array.transpose(1, 2, 0)."
    if pixels.dtype.kind == "f":
        return " From 0 to 1: (255 * array).round().astype('uint8')."
    return ""
