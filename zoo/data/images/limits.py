"""Finds images that are made to be dear: small files over which Pillow would work for minutes, or fill the memory.

What is allowed here is far more than cameras and programs write. How many pixels an image may have, and how many images
are decoded at a time, is kept by `zoo.data.images.decode`.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_SCANS = 100  # of a JPEG: each passes over all pixels. Programs write about ten
_MAX_PIECES = 100_000  # segments, chunks or strips, each of which Pillow handles in Python
_MAX_FIELDS = 1_000_000  # of all pages of a TIFF
_MAX_JUNK = 1 << 20  # bytes of comments, and of what belongs to nothing: a GIF's take the square of their number
_MAX_NAMED = 16 << 20  # bytes beyond the file's own that its metadata may name: one byte can be named many times
_MAX_SLOW = 16 << 20  # bytes for decoders that are written in Python: five seconds
_JPEG, _GIF, _PNG = b"\xff\xd8\xff", b"GIF8", b"\x89PNG\r\n\x1a\n"
# Entropy-coded data writes ff as ff 00, and has restart markers in it; anything else after ff begins a segment.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_END, _SCAN = 0xD9, 0xDA
_DIRECTORY = re.compile(rb"II[*+]\0|MM\0[*+]|MM\*\0|II\0\*")  # as Pillow knows them, the last two among them
_STRIPS = (273, 324)  # tags: where the strips, or tiles, of the pixels begin
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


class DearError(Exception):
    """Why an image would cost far more than it seems."""


def check_bytes(data: bytes) -> None:
    """Raises `DearError` where the bytes of an image would be dear to open, or its frames to count."""
    checks = {_JPEG: _dear_jpeg, _GIF: _dear_gif, _PNG: _dear_png}
    check = next((check for magic, check in checks.items() if data.startswith(magic)), _dear_directories)
    if reason := check(data):
        raise DearError(reason)


def check_opened(image: Image.Image, data: bytes) -> None:
    """Raises `DearError` where an image that is open would be dear to decode, or to ask for its orientation."""
    # What Pillow decodes in Python, numbers that are written as text, say, is found in this register of its own.
    if len(data) > _MAX_SLOW and any(tile[0] in Image.DECODERS for tile in getattr(image, "tile", ())):
        raise DearError(f"{len(data) >> 20} MiB in an encoding that is slow to read")
    if reason := _dear_directories(_exif(image.info)):
        raise DearError(reason)


def _dear_jpeg(data: bytes) -> str:
    place, junk, pieces, exif = 2, 0, 0, bytearray()
    while match := _MARKER.search(data, place):
        junk += match.start() - place
        pieces += 1
        begin, marker = match.end(), match[0][1]
        if marker in (_SCAN, _END):
            break
        if pieces > _MAX_PIECES or junk > _MAX_JUNK:
            return f"more than {_MAX_PIECES:,} segments" if pieces > _MAX_PIECES else "rubbish between its segments"
        place = begin + int.from_bytes(data[begin : begin + 2])
        if data.startswith(b"Exif\0\0", begin + 2):
            exif += data[begin + 8 : place]  # Pillow joins them
        elif data.startswith(b"MPF\0", begin + 2) and (reason := _dear_directories(data[begin + 6 : place])):
            return reason
    # Counting bytes is fast, and in most files there are few; the same two may stand in metadata, and behind the image.
    if data.count(b"\xff\xda") > _MAX_SCANS and _scans(data, place) > _MAX_SCANS:
        return f"more than {_MAX_SCANS} scans"
    return _dear_directories(bytes(exif))


def _scans(data: bytes, place: int) -> int:
    """Returns how many scans a JPEG has from here to its end."""
    scans = 0
    while (match := _MARKER.search(data, place)) and match[0][1] != _END:
        scans += match[0][1] == _SCAN
        place = match.end() + int.from_bytes(data[match.end() : match.end() + 2])
    return scans


def _dear_gif(data: bytes) -> str:
    flags = data[10] if len(data) > 10 else 0
    begin = place = 13 + _colours(flags)
    while place - begin <= _MAX_JUNK:
        kind = data[place : place + 1]
        if kind in (b";", b""):
            return ""
        place += 1
        if kind == b"!":  # an extension: its label, then blocks
            place = _behind_blocks(data, place + 1)
        elif kind == b",":  # a frame: its frame and flags, a table of colours, a number, then blocks
            flags = data[place + 8] if place + 8 < len(data) else 0
            begin = place = _behind_blocks(data, place + 9 + _colours(flags) + 1)
    return f"more than {_MAX_JUNK >> 20} MiB beside its frames"


def _colours(flags: int) -> int:
    """Returns the bytes of a GIF's table of colours."""
    return 3 * (2 << (flags & 7)) if flags & 0x80 else 0


def _behind_blocks(data: bytes, place: int) -> int:
    """Returns where blocks end, each of which begins with its length; the last one has none."""
    while length := int.from_bytes(data[place : place + 1]):
        place += 1 + length
    return place + 1


def _dear_png(data: bytes) -> str:
    place, pieces = len(_PNG), 0
    while place < len(data):
        place += 12 + int.from_bytes(data[place : place + 4])
        pieces += 1
        if pieces > _MAX_PIECES:
            return f"more than {_MAX_PIECES:,} chunks"
    return ""


def _dear_directories(tiff: bytes) -> str:
    """Adds up what the entries of a TIFF's directories point to: each may name all of the file.

    Adobe, TIFF 6.0 (1992), section 2; EXIF data are a TIFF without pixels. Big ones count in 64 bits.
    """
    if not _DIRECTORY.match(tiff):
        return ""
    order, big = "<" if tiff.startswith(b"I") else ">", 0x2B in tiff[2:4]
    offset, head = struct.Struct(order + ("Q" if big else "L")), struct.Struct(order + ("Q" if big else "H"))
    entry = struct.Struct(order + ("HHQQ" if big else "HHLL"))
    named, strips, fields, seen = 0, 0, 0, set[int]()
    try:
        (begin,) = offset.unpack_from(tiff, 8 if big else 4)
        while begin and begin not in seen and named <= len(tiff) + _MAX_NAMED and strips <= _MAX_PIECES:
            seen.add(begin)
            (count,) = head.unpack_from(tiff, begin)
            fields += 1 + count
            if fields > _MAX_FIELDS:
                return f"more than {_MAX_FIELDS:,} fields"
            begin, end = begin + head.size, begin + head.size + entry.size * count
            table = tiff[begin:end]
            entries = list(entry.iter_unpack(table[: len(table) // entry.size * entry.size]))
            named += sum(_TYPE_SIZES.get(kind, 0) * length for _, kind, length, _ in entries)
            strips = max([length for tag, _, length, _ in entries if tag in _STRIPS], default=0)
            (begin,) = offset.unpack_from(tiff, end)
    except (struct.error, OverflowError):  # it ends too early, which Pillow tells
        pass
    if named > len(tiff) + _MAX_NAMED:
        return f"metadata that names {named >> 20:,} MiB in {len(tiff) / 2**20:.1f}"
    return f"{strips:,} strips" if strips > _MAX_PIECES else ""


def _exif(info: Mapping[Any, Any]) -> bytes:
    """Returns the EXIF data that Pillow would read for an orientation."""
    exif = info.get("exif", b"")
    if isinstance(text := info.get("Raw profile type exif"), str) and not exif:
        try:
            exif = bytes.fromhex("".join(text.split("\n")[3:]))
        except ValueError:
            return b""
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    return bytes(exif)
