"""The boxes of an AVIF or HEIC file, and the tiles that its photo consists of.

A photo in tiles, a "grid", refers to its tiles by number, and any number of times to the same one: a file of a kilobyte
can have 65,025 of them. Sources: ISO/IEC 14496-12 (boxes, ``iref``) and 23008-12 (``ispe``, ``ipma``, grids).
"""

from __future__ import annotations

import struct
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_PIECES = 100_000  # boxes, items and their extents; a photo in tiles has some hundreds
# Boxes of boxes, and the bytes in front of those.
_FOLDERS = {b"meta": 4, b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0, b"stbl": 0, b"iprp": 0, b"iref": 4}


def list_boxes(data: memoryview) -> list[tuple[bytes, int, int]]:
    """Returns the kind of each box, also of those in other boxes, and where its content begins and ends."""
    return list(islice(_boxes(data, 0, len(data)), MAX_PIECES))


def is_tiled(boxes: list[tuple[bytes, int, int]]) -> bool:
    """Returns whether an image in a file is put together from others."""
    return any(kind == b"dimg" for kind, _, _ in boxes)


def tile_pixels(data: bytes) -> int:
    """Returns the pixels of all tiles of the photos in a file, each counted as often as it is referred to.

    The size of a tile is that in its ``ispe`` box; decoders refuse tiles of another size.
    """
    view = memoryview(data)
    boxes = list_boxes(view)
    areas: dict[int, int] = {}
    pixels = 0
    with suppress(struct.error, IndexError):  # a box ends too early, which the decoder reports
        sizes = [
            _area(view[start:stop]) if name == b"ispe" else 0
            for kind, begin, end in boxes
            if kind == b"ipco"
            for name, start, stop in islice(_boxes(view, begin, end), MAX_PIECES)
        ]
        for begin, end in [(begin, end) for kind, begin, end in boxes if kind == b"ipma"]:
            areas.update(_item_areas(view[begin:end], sizes))
        wide = [view[begin] == 1 for kind, begin, _ in boxes if kind == b"iref"]  # the version
        for begin, end in [(begin, end) for kind, begin, end in boxes if kind == b"dimg"]:
            pixels += sum(areas.get(item, 0) for item in _referenced(view[begin:end], wide=any(wide)))
    return pixels


def _boxes(data: memoryview, place: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    waiting = [(place, end)]
    while waiting:
        place, end = waiting.pop()
        while place + 8 <= end:
            length, kind = struct.unpack_from(">L4s", data, place)
            begin = place + 8
            if length == 1 and begin + 8 <= end:
                (length,) = struct.unpack_from(">Q", data, begin)
                begin += 8
            last = place + length if length else end
            if last < begin:
                break
            last = min(last, end)
            yield kind, begin, last
            if kind in _FOLDERS:
                waiting.append((begin + _FOLDERS[kind], last))
            place = last


def _area(ispe: memoryview) -> int:
    width, height = struct.unpack_from(">LL", ispe, 4)
    return int(width * height)


def _item_areas(ipma: memoryview, sizes: list[int]) -> Iterator[tuple[int, int]]:
    """Yields the number of each item, and the largest area among the properties that belong to it."""
    number, wide = ">H" if ipma[0] == 0 else ">L", ipma[3] & 1
    place = 8
    for _ in range(struct.unpack_from(">L", ipma, 4)[0]):
        (item,) = struct.unpack_from(number, ipma, place)
        place += struct.calcsize(number)
        count = ipma[place]
        packed = struct.unpack_from(f">{count}{'H' if wide else 'B'}", ipma, place + 1)
        place += 1 + count * (2 if wide else 1)
        # The highest bit says whether the property is essential; numbers start at 1.
        indices = [value & (0x7FFF if wide else 0x7F) for value in packed]
        yield item, max((sizes[index - 1] for index in indices if 0 < index <= len(sizes)), default=0)


def _referenced(dimg: memoryview, *, wide: bool) -> tuple[int, ...]:
    """Returns the numbers of the items that an image is put together from."""
    size = 4 if wide else 2
    count = min(int.from_bytes(dimg[size : size + 2]), (len(dimg) - size - 2) // size)
    return struct.unpack_from(f">{max(count, 0)}{'L' if wide else 'H'}", dimg, size + 2)
