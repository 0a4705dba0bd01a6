"""What decoding an image takes, estimated from its header before any pixel is decoded, and a budget of memory.

Decoders take more than the pixels that they return: JPEG 2000 keeps 32 bits of every sample, WebP two canvases,
progressive JPEG all coefficients of the full size, even where Pillow returns an eighth of it. The figures here were
measured on images of 36 megapixels with Pillow 12.3.
"""

from __future__ import annotations

import math
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.data.images.avif import frame_pixels
from zoo.data.images.colour import BAND, profile_seconds
from zoo.data.images.heif_boxes import tile_pixels
from zoo.data.images.jpeg2000 import estimate_decoding
from zoo.utils.machine import available_memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from PIL import Image

MAX_MEMORY = 3 << 30  # of one image
_MAX_SECONDS, _MAX_SECONDS_SMALL = 10, 5  # of processor time: of a large file, and of one of a few bytes
_SECONDS_PER_BYTE = 0.2 / 2**20  # how the limit grows with the file
_JPEG2000_LIMIT = (3, 1 / 2**20)  # for a file of a few bytes, and how it grows
_MODE_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}  # of a pixel in Pillow
_RESULT_BYTES = 8  # of a pixel: RGB in Pillow (4), and turned upright (4) or as an array (3)
_PIXEL_SECONDS = 4.5e-8  # the slowest of the simple formats: a PNG with 16 bits and transparency
_JPEG_SECONDS, _SCAN_SECONDS = 3e-8, 3e-10  # of a JPEG's pixel, and for each scan, which may have hardly any data
_BAND_BYTES = 12  # of a pixel that is being converted, up to `BAND` of them
# By format: bytes of a pixel beyond Pillow's, and seconds per pixel and per byte of the file, which these copy, too.
_CANVASES = {"WEBP": (16, 2.3e-8, 1.5e-8), "AVIF": (16, 2.3e-8, 5.5e-8), "HEIF": (16, 4.5e-8, 1e-7)}
_TILE_WIDTH, _TILE_LENGTH, _ROWS_PER_STRIP, _SAMPLES, _BITS = 322, 323, 278, 277, 258  # tags of TIFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What decoding an image takes.

    Attributes:
        memory: Bytes at the peak, with the pixels returned and without the file.
        seconds: Of one processor core.
        limit: The most seconds that a file of this size may take.
    """

    memory: int
    seconds: float
    limit: float


def estimate_workload(image: Image.Image, data: bytes, size: tuple[int, int]) -> Workload:
    """Returns what decoding an open image takes.

    Args:
        image: The image, opened but not loaded, perhaps with a smaller size requested by `draft`.
        data: The content of its file.
        size: Its width and height without `draft`.

    Raises:
        ValueError: The headers of a JPEG 2000 image are broken, or an AVIF image has far too many parts.
    """
    pixels = image.width * image.height
    memory = pixels * (_MODE_BYTES.get(image.mode, 4) + _RESULT_BYTES) + min(pixels, BAND) * _BAND_BYTES
    seconds = math.prod(size) * _PIXEL_SECONDS
    if image.format == "JPEG2000":
        decoder_memory, seconds = estimate_decoding(data)
        memory += decoder_memory
    elif image.format in _CANVASES:
        canvas_bytes, pixel_seconds, byte_seconds = _CANVASES[image.format]
        kept, decoded = frame_pixels(data) if image.format == "AVIF" else (pixels, tile_pixels(data))
        memory += max(pixels, kept) * canvas_bytes + len(data)
        seconds = max(pixels, decoded) * pixel_seconds + len(data) * byte_seconds
    elif image.format == "TIFF":
        decoded, buffer = _measure_tiff(getattr(image, "tag_v2", {}), image.size)
        memory += buffer
        seconds = decoded * _PIXEL_SECONDS
    elif image.format in ("JPEG", "MPO"):
        memory += _coefficient_bytes(image, data, size)
        seconds = math.prod(size) * (_JPEG_SECONDS + data.count(b"\xff\xda") * _SCAN_SECONDS)
    seconds += pixels * profile_seconds(image)
    return Workload(memory=memory, seconds=seconds, limit=_limit(image.format, len(data)))


def _limit(kind: str | None, size: int) -> float:
    """Returns the most seconds that a file of a format and of `size` bytes may take.

    JPEG 2000 takes the longest of all for a pixel. A photo has 0.3 bits or more of each, so that few bytes for many
    pixels are no photo.
    """
    small, growth = _JPEG2000_LIMIT if kind == "JPEG2000" else (_MAX_SECONDS_SMALL, _SECONDS_PER_BYTE)
    return min(_MAX_SECONDS, small + size * growth)


def _coefficient_bytes(image: Image.Image, data: bytes, size: tuple[int, int]) -> int:
    """Returns the bytes of a JPEG's coefficients: libjpeg keeps all of them if there is more than one scan."""
    if not image.info.get("progressive") and _has_whole_scan(image, data):
        return 0
    factors = [(down, across) for _, down, across, _ in getattr(image, "layer", ())]
    largest = max((down for down, _ in factors), default=1) * max((across for _, across in factors), default=1)
    planes = sum(down * across for down, across in factors) / max(largest, 1)
    return int(2 * math.prod(size) * planes)


def _has_whole_scan(image: Image.Image, data: bytes) -> bool:
    """Returns whether the first scan of a JPEG, whose header Pillow has just read, has all its components."""
    file = getattr(image, "fp", None)
    header = 8 + 2 * getattr(image, "layers", 0)
    return file is not None and data.startswith(b"\xff\xda", max(0, file.tell() - header))


def _measure_tiff(tags: Mapping[int, Any], size: tuple[int, int]) -> tuple[int, int]:
    """Returns the pixels that libtiff decodes, padding included, and the bytes of one strip or tile."""
    width, height = size
    tile = [_number(tags.get(tag)) for tag in (_TILE_WIDTH, _TILE_LENGTH)]
    if all(tile):
        decoded = math.prod(math.ceil(side / length) * length for side, length in zip(size, tile, strict=True))
        piece = math.prod(tile)
    else:
        rows = _number(tags.get(_ROWS_PER_STRIP)) or height
        decoded, piece = width * height, width * min(rows, height)
    bits = tags.get(_BITS)
    sample_bits = max(bits, default=8) if isinstance(bits, tuple) else _number(bits) or 8
    return decoded, piece * max(1, _number(tags.get(_SAMPLES))) * math.ceil(sample_bits / 8)


def _number(value: Any) -> int:
    """Returns the value of a tag that should hold one number; 0 if it is missing or something else."""
    return value if isinstance(value, int) else 0


class MemoryBudget:
    """Limits the memory that all threads of the process take at a time. Serves requests in order of arrival.

    Args:
        limit: Bytes. A request for more waits until it is the only one.
    """

    def __init__(self, limit: int) -> None:
        self._limit = self._left = limit
        self._turn = threading.Lock()
        self._room = threading.Condition()

    @contextmanager
    def reserve(self, memory: int) -> Iterator[None]:
        """Reserves bytes for the duration of a block; waits until they are available."""
        if not memory:
            yield
            return
        memory = min(memory, self._limit)
        # A thread that waits for room holds the turn, so that many small requests never starve a large one.
        with self._turn, self._room:
            self._room.wait_for(lambda: self._left >= memory)
            self._left -= memory
        try:
            yield
        finally:
            with self._room:
                self._left += memory
                self._room.notify_all()


def default_budget() -> int:
    """Returns the bytes that decoders may take together: half of the available memory, at most 4 GiB."""
    available = available_memory()
    return 4 << 30 if available is None else min(4 << 30, available // 2)
