"""Limits on what decoding may cost: refuses files crafted to be expensive, and bounds the pixels decoded at a time.

A small file can keep Pillow busy for minutes or exhaust the memory. The limits here are far above what cameras and
programs write. `zoo.data.images.decode` limits the bytes and the pixels of a single image.
"""

from __future__ import annotations

import re
import struct
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MAX_SCANS = 100  # of a JPEG: each passes over all pixels. Programs write about ten
_MAX_PIECES = 100_000  # segments, chunks or strips, each of which Pillow handles in Python
_MAX_FIELDS = 1_000_000  # of all pages of a TIFF
_MAX_JUNK = 1 << 20  # bytes of comments and stray data: in a GIF the time grows with the square of their number
_MAX_METADATA = 16 << 20  # bytes, beyond the file's own, that metadata may refer to: many entries can share one byte
_MAX_SLOW = 16 << 20  # bytes for decoders written in Python: five seconds
_JPEG, _GIF, _PNG = b"\xff\xd8\xff", b"GIF8", b"\x89PNG\r\n\x1a\n"
# Entropy-coded data writes ff as ff 00 and contains restart markers; any other byte after ff starts a segment.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_END, _SCAN = 0xD9, 0xDA
_DIRECTORY = re.compile(rb"II[*+]\0|MM\0[*+]|MM\*\0|II\0\*")  # the prefixes that Pillow accepts, the last two included
_STRIPS = (273, 324)  # tags: where the strips, or tiles, of the pixels start
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


class ExpensiveImageError(Exception):
    """Decoding an image would cost far more than its size suggests; the message says why."""


class PixelBudget:
    """Limits the pixels that all threads of the process decode at a time. Serves requests in order of arrival.

    Args:
        limit: Pixels. An image with more waits until it is the only one.
    """

    def __init__(self, limit: int) -> None:
        self._limit = self._left = limit
        self._turn = threading.Lock()
        self._room = threading.Condition()

    @contextmanager
    def reserve(self, pixels: int) -> Iterator[None]:
        """Reserves pixels for the duration of a block; waits until they are available."""
        pixels = min(pixels, self._limit)
        # A thread that waits for room holds the turn, so that many small images never starve a large one.
        with self._turn, self._room:
            self._room.wait_for(lambda: self._left >= pixels)
            self._left -= pixels
        try:
            yield
        finally:
            with self._room:
                self._left += pixels
                self._room.notify_all()


def check_bytes(data: bytes) -> None:
    """Checks that an image is not expensive to open and its frames are not expensive to count.

    Raises:
        ExpensiveImageError: It is.
    """
    checks = {_JPEG: _check_jpeg, _GIF: _check_gif, _PNG: _check_png}
    check = next((check for magic, check in checks.items() if data.startswith(magic)), _check_directories)
    check(data)


def check_opened(image: Image.Image, data: bytes) -> None:
    """Checks that an open image is not expensive to decode and its orientation is not expensive to read.

    Raises:
        ExpensiveImageError: It is.
    """
    # Pillow registers its decoders that are written in Python here: for pixels written as text, for example.
    if len(data) > _MAX_SLOW and any(tile[0] in Image.DECODERS for tile in getattr(image, "tile", ())):
        raise ExpensiveImageError(f"{len(data) >> 20} MiB in an encoding that is slow to decode")
    _check_directories(_exif(image.info))


def _check_jpeg(data: bytes) -> None:
    place, junk, pieces, exif = 2, 0, 0, bytearray()
    while match := _MARKER.search(data, place):
        junk += match.start() - place
        pieces += 1
        begin, marker = match.end(), match[0][1]
        if marker in (_SCAN, _END):
            break
        if pieces > _MAX_PIECES:
            raise ExpensiveImageError(f"more than {_MAX_PIECES:,} segments")
        if junk > _MAX_JUNK:
            raise ExpensiveImageError(f"more than {_MAX_JUNK >> 20} MiB of stray data between its segments")
        place = begin + int.from_bytes(data[begin : begin + 2])
        if data.startswith(b"Exif\0\0", begin + 2):
            exif += data[begin + 8 : place]  # Pillow joins these segments
        elif data.startswith(b"MPF\0", begin + 2):
            _check_directories(data[begin + 6 : place])
    # Counting bytes is fast, and most files have few; the same bytes may also be in metadata or behind the image.
    if data.count(b"\xff\xda") > _MAX_SCANS and _count_scans(data, place) > _MAX_SCANS:
        raise ExpensiveImageError(f"more than {_MAX_SCANS} scans")
    _check_directories(bytes(exif))


def _count_scans(data: bytes, place: int) -> int:
    """Returns how many scans a JPEG has from `place` to its end."""
    scans = 0
    while (match := _MARKER.search(data, place)) and match[0][1] != _END:
        scans += match[0][1] == _SCAN
        place = match.end() + int.from_bytes(data[match.end() : match.end() + 2])
    return scans


def _check_gif(data: bytes) -> None:
    flags = data[10] if len(data) > 10 else 0
    begin = place = 13 + _colour_table_size(flags)
    while place - begin <= _MAX_JUNK:
        kind = data[place : place + 1]
        if kind in (b";", b""):
            return
        place += 1
        if kind == b"!":  # an extension: its label, then blocks
            place = _skip_blocks(data, place + 1)
        elif kind == b",":  # a frame: its box and flags, a table of colours, a number, then blocks
            flags = data[place + 8] if place + 8 < len(data) else 0
            begin = place = _skip_blocks(data, place + 9 + _colour_table_size(flags) + 1)
    raise ExpensiveImageError(f"more than {_MAX_JUNK >> 20} MiB between its frames")


def _colour_table_size(flags: int) -> int:
    """Returns the bytes of a GIF's colour table."""
    return 3 * (2 << (flags & 7)) if flags & 0x80 else 0


def _skip_blocks(data: bytes, place: int) -> int:
    """Returns where a sequence of blocks ends: each starts with its length, and the last one is empty."""
    while length := int.from_bytes(data[place : place + 1]):
        place += 1 + length
    return place + 1


def _check_png(data: bytes) -> None:
    place, pieces = len(_PNG), 0
    while place < len(data):
        place += 12 + int.from_bytes(data[place : place + 4])
        pieces += 1
        if pieces > _MAX_PIECES:
            raise ExpensiveImageError(f"more than {_MAX_PIECES:,} chunks")


def _check_directories(tiff: bytes) -> None:
    """Adds up the bytes that the entries of a TIFF's directories refer to: each entry may refer to the whole file.

    EXIF data is a TIFF without pixels. BigTIFF counts in 64 bits. Source: Adobe, TIFF 6.0 (1992), section 2.
    """
    if not _DIRECTORY.match(tiff):
        return
    order, big = "<" if tiff.startswith(b"I") else ">", 0x2B in tiff[2:4]
    offset, head = struct.Struct(order + ("Q" if big else "L")), struct.Struct(order + ("Q" if big else "H"))
    entry = struct.Struct(order + ("HHQQ" if big else "HHLL"))
    referenced, strips, fields, seen = 0, 0, 0, set[int]()
    try:
        (begin,) = offset.unpack_from(tiff, 8 if big else 4)
        while begin and begin not in seen and referenced <= len(tiff) + _MAX_METADATA and strips <= _MAX_PIECES:
            seen.add(begin)
            (count,) = head.unpack_from(tiff, begin)
            fields += 1 + count
            if fields > _MAX_FIELDS:
                raise ExpensiveImageError(f"more than {_MAX_FIELDS:,} fields")
            begin, end = begin + head.size, begin + head.size + entry.size * count
            table = tiff[begin:end]
            entries = list(entry.iter_unpack(table[: len(table) // entry.size * entry.size]))
            referenced += sum(_TYPE_SIZES.get(kind, 0) * length for _, kind, length, _ in entries)
            strips = max([length for tag, _, length, _ in entries if tag in _STRIPS], default=0)
            (begin,) = offset.unpack_from(tiff, end)
    except (struct.error, OverflowError):  # the data ends too early, which Pillow reports
        pass
    if referenced > len(tiff) + _MAX_METADATA:
        raise ExpensiveImageError(f"metadata that refers to {referenced >> 20:,} MiB in {len(tiff) / 2**20:.1f} MiB")
    if strips > _MAX_PIECES:
        raise ExpensiveImageError(f"{strips:,} strips")


def _exif(info: Mapping[Any, Any]) -> bytes:
    """Returns the EXIF data that Pillow would read for the orientation."""
    exif = info.get("exif", b"")
    if isinstance(text := info.get("Raw profile type exif"), str) and not exif:
        try:
            exif = bytes.fromhex("".join(text.split("\n")[3:]))
        except ValueError:
            return b""
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    return bytes(exif)
