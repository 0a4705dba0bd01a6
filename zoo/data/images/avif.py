"""The size of the frames inside an AVIF image, which may be larger than the image.

Pillow reports the size that the container states. The decoder allocates frames of the size that the AV1 streams inside
state, up to 268 megapixels, and scales them down. Sources: ISO/IEC 14496-12 (boxes and ``iloc``), and the AV1 Bitstream
& Decoding Process Specification, sections 5.3 to 5.5.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from zoo.data.images.heif_boxes import MAX_PIECES, is_tiled, list_boxes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SEQUENCE_HEADER = 1


def frame_pixels(data: bytes) -> tuple[int, int]:
    """Returns the pixels that a decoder keeps at a time, as the streams in a file state, and those that it decodes.

    An image in tiles has the size of all its tiles; otherwise the largest frame counts. Both are 0 without a stream.

    Raises:
        ValueError: The file has too many streams, or too many units in them.
    """
    view, frames, pieces = memoryview(data), [0], 0
    boxes = list_boxes(view)
    for stream in _streams(view, boxes):
        pieces, pixels = pieces + 1, 0
        for kind, content in _units(stream):
            pieces += 1
            if pieces > MAX_PIECES:
                raise ValueError(f"more than {MAX_PIECES:,} pieces of streams")
            if kind == _SEQUENCE_HEADER:
                pixels = max(pixels, _frame_pixels(content))
        frames.append(pixels)
    return sum(frames) if is_tiled(boxes) else max(frames), sum(frames)


def _streams(data: memoryview, boxes: list[tuple[bytes, int, int]]) -> Iterator[memoryview]:
    """Yields what may be AV1 streams: the content of each item, and of the first sample of each track."""
    base = next((begin for kind, begin, _ in boxes if kind == b"idat"), 0)
    sizes = [_first_size(data[begin:end]) for kind, begin, end in boxes if kind == b"stsz"]
    offsets = [
        int.from_bytes(data[begin + 8 : begin + (16 if kind == b"co64" else 12)])
        for kind, begin, _ in boxes
        if kind in (b"stco", b"co64")
    ]
    yield from (data[offset : offset + size] for offset, size in zip(offsets, sizes, strict=False))
    for kind, begin, end in boxes:
        if kind == b"iloc":
            with suppress(EOFError, struct.error, IndexError):  # it ends too early, which the decoder reports
                yield from _items(data, data[begin:end], base)


def _first_size(stsz: memoryview) -> int:
    """Returns the bytes of the first sample: all have the same size, or a list of sizes follows."""
    return int.from_bytes(stsz[4:8]) or int.from_bytes(stsz[12:16])


def _items(data: memoryview, iloc: memoryview, base: int) -> Iterator[memoryview]:
    """Yields the content of each item in an ``iloc`` box; `base` is where the ``idat`` box begins."""
    version, sizes, place, extents = iloc[0], struct.unpack_from(">H", iloc, 4)[0], 6, 0

    def read(size: int) -> int:
        nonlocal place
        place += size
        if place > len(iloc):
            raise EOFError
        return int.from_bytes(iloc[place - size : place])

    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version in (1, 2) else 0
    for _ in range(read(4 if version == 2 else 2)):
        read(4 if version == 2 else 2)  # the number of the item
        start = base if version in (1, 2) and read(2) & 15 == 1 else 0
        read(2)  # the number of the file
        start += read(base_size)
        parts = []
        extents += 1 + (count := read(2))
        if extents > MAX_PIECES:
            raise ValueError(f"more than {MAX_PIECES:,} extents of items")
        for _ in range(count):
            read(index_size)
            begin = start + read(offset_size)
            length = read(length_size)
            parts.append(data[begin : begin + length] if length else data[begin:])
        if sum(map(len, parts)) > len(data):
            raise ValueError("an item whose extents overlap")
        yield parts[0] if len(parts) == 1 else memoryview(b"".join(parts))


def _units(stream: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yields the kind and the content of each unit of a stream: section 5.3."""
    place = 0
    while place < len(stream):
        head = stream[place]
        place += 2 if head & 4 else 1
        length = len(stream) - place
        if head & 2:
            length, place = _read_leb128(stream, place)
        yield head >> 3 & 15, stream[place : place + length]
        place += length


def _read_leb128(stream: memoryview, place: int) -> tuple[int, int]:
    """Returns a number of up to eight bytes with seven bits each, and the place behind it."""
    value = 0
    for number, byte in enumerate(stream[place : place + 8]):
        value |= (byte & 0x7F) << 7 * number
        if not byte & 0x80:
            return value, place + number + 1
    return len(stream), place


def _frame_pixels(header: memoryview) -> int:
    """Returns the pixels of a frame as a sequence header states: section 5.5.1. 0 if it ends too early."""
    bits = f"{int.from_bytes(header[:256]):0{8 * min(len(header), 256)}b}"
    place = 0

    def read(count: int = 1) -> int:
        nonlocal place
        place += count
        return int(bits[place - count : place] or "0", 2)

    read(4)  # the profile, and whether there is a single frame
    if read():  # a short header, as of still pictures
        read(5)
    else:
        _skip_operating_points(read)
    width_bits, height_bits = read(4) + 1, read(4) + 1
    pixels = (read(width_bits) + 1) * (read(height_bits) + 1)
    return pixels if place <= len(bits) else 0


def _skip_operating_points(read: Callable[..., int]) -> None:
    """Reads what stands before the size of the frames in a header that is not short."""
    delay_bits = 0
    if read():  # timing
        read(64)
        if read():  # a number of 2 n + 1 bits, n of which are zeros in front
            zeros = 0
            while zeros < 32 and not read():
                zeros += 1
            read(zeros)
        if read():  # a model of the decoder
            delay_bits = read(5) + 1
            read(42)
    display_delay = read()
    for _ in range(read(5) + 1):
        read(12)
        if read(5) > 7:
            read()
        if delay_bits and read():
            read(2 * delay_bits + 1)
        if display_delay and read():
            read(4)
