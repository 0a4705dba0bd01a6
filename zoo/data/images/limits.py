"""Refuses files crafted to be expensive to open, by their structure, before Pillow reads them.

A small file can keep Pillow busy for minutes or exhaust the memory. The limits here are far above what cameras and
programs write. `zoo.data.images.decode` limits the bytes and the pixels of a single image, and
`zoo.data.images.workload` what its pixels take.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any

from PIL import Image
from PIL.JpegImagePlugin import MARKER

from zoo.data.images import jpeg2000

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_SCANS = 100  # of a JPEG: each passes over all pixels. Programs write about ten
_MAX_PIECES = 100_000  # segments, chunks or strips, each of which Pillow handles in Python
_MAX_FIELDS = 1_000_000  # of all pages of a TIFF
_MAX_BLOCKS = 3_000_000  # of a GIF, of up to 255 bytes each; a full file has one million
_MAX_JUNK = 1 << 20  # bytes of comments and stray data: in a GIF the time grows with the square of their number
_MAX_SEGMENTS = 32 << 20  # bytes of a JPEG's metadata: Pillow parses some of it in Python
_MAX_HEADER = 1 << 16  # bytes of a PPM's header, which Pillow reads one by one
_MAX_BOX = 4 << 20  # bytes of a JPEG 2000's header box
_MAX_ICON = 4_000_000  # pixels of an image in an icon; 65,536 are usual
_MAX_METADATA = 16 << 20  # bytes, beyond the file's own, that metadata may refer to: many entries can share one byte
_MAX_SLOW = 16 << 20  # bytes for decoders written in Python: five seconds
_JPEG, _GIF, _PNG, _ICON = b"\xff\xd8\xff", b"GIF8", b"\x89PNG\r\n\x1a\n", b"\0\0\1\0"
_PPM = tuple(b"P%c" % kind for kind in b"0123456fFy")
# Entropy-coded data writes ff as ff 00 and contains restart markers; any other byte after ff starts a segment.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_HEADER_MARKER = re.compile(rb"\xff[^\x00\xff]")
_END, _SCAN = 0xD9, 0xDA
_WITH_LENGTH = frozenset(marker & 0xFF for marker, (_, _, handler) in MARKER.items() if handler is not None)
_KNOWN = frozenset(marker & 0xFF for marker in MARKER)
_DIRECTORY = re.compile(rb"II[*+]\0|MM\0[*+]|MM\*\0|II\0\*")  # the prefixes that Pillow accepts, the last two included
_STRIPS = (273, 324)  # tags: where the strips, or tiles, of the pixels start
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


class ExpensiveImageError(Exception):
    """Decoding an image would cost far more than its size suggests; the message says why."""


def check_bytes(data: bytes) -> None:
    """Checks that an image is not expensive to open and its frames are not expensive to count.

    Raises:
        ExpensiveImageError: It is.
    """
    checks = {
        _JPEG: _check_jpeg,
        _GIF: _check_gif,
        _PNG: _check_png,
        _ICON: _check_icon,
        **dict.fromkeys(jpeg2000.STARTS, _check_jpeg2000),
        **dict.fromkeys(_PPM, _check_ppm),
    }
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
    """Follows the segments up to the first scan as Pillow does: byte by byte where it expects a marker."""
    place, junk, pieces, exif = 2, 0, 0, bytearray()
    while junk <= _MAX_JUNK:
        match = _HEADER_MARKER.search(data, place, place + _MAX_JUNK + 2)
        begin = match.end() if match else min(len(data), place + _MAX_JUNK + 2)
        marker = data[begin - 1] if match else 0
        junk += begin - 2 - place
        place = begin
        if marker not in _WITH_LENGTH:
            junk += 2
            if marker in _KNOWN:
                continue
            break
        place = begin + int.from_bytes(data[begin : begin + 2])
        pieces += 1
        if marker == _SCAN:
            break
        if pieces > _MAX_PIECES:
            raise ExpensiveImageError(f"more than {_MAX_PIECES:,} segments")
        if place > _MAX_SEGMENTS:
            raise ExpensiveImageError(f"more than {_MAX_SEGMENTS >> 20} MiB of metadata")
        if data.startswith(b"Exif\0\0", begin + 2):
            exif += data[begin + 8 : place]  # Pillow joins these segments
        elif data.startswith(b"MPF\0", begin + 2):
            _check_directories(data[begin + 6 : place])
    if junk > _MAX_JUNK:
        raise ExpensiveImageError(f"more than {_MAX_JUNK >> 20} MiB of stray data between its segments")
    # Counting bytes is fast, and most files have few; the same bytes may also be in metadata or behind the image.
    if data.count(b"\xff\xda") > _MAX_SCANS:
        _check_scans(data, place)
    _check_directories(bytes(exif))


def _check_scans(data: bytes, place: int) -> None:
    """Counts the scans of a JPEG and its segments from `place`, behind the header of the first scan, to the end."""
    scans = pieces = 1
    while (match := _MARKER.search(data, place)) and match[0][1] != _END:
        scans += match[0][1] == _SCAN
        pieces += 1
        if scans > _MAX_SCANS:
            raise ExpensiveImageError(f"more than {_MAX_SCANS} scans")
        if pieces > _MAX_PIECES:
            raise ExpensiveImageError(f"more than {_MAX_PIECES:,} segments")
        place = match.end() + int.from_bytes(data[match.end() : match.end() + 2])


def _check_gif(data: bytes) -> None:
    flags = data[10] if len(data) > 10 else 0
    begin = place = 13 + _colour_table_size(flags)
    blocks = 0
    while place - begin <= _MAX_JUNK:
        kind = data[place : place + 1]
        if kind in (b";", b""):
            return
        place += 1
        if kind == b"!":  # an extension: its label, then blocks
            place, blocks = _skip_blocks(data, place + 1, blocks)
        elif kind == b",":  # a frame: its box and flags, a table of colours, a number, then blocks
            flags = data[place + 8] if place + 8 < len(data) else 0
            place, blocks = _skip_blocks(data, place + 9 + _colour_table_size(flags) + 1, blocks)
            begin = place
    raise ExpensiveImageError(f"more than {_MAX_JUNK >> 20} MiB between its frames")


def _colour_table_size(flags: int) -> int:
    """Returns the bytes of a GIF's colour table."""
    return 3 * (2 << (flags & 7)) if flags & 0x80 else 0


def _skip_blocks(data: bytes, place: int, blocks: int) -> tuple[int, int]:
    """Returns where a sequence of blocks ends: each starts with its length, and the last one is empty.

    Also returns the number of blocks, with the `blocks` before them.
    """
    while True:
        blocks += 1
        if blocks > _MAX_BLOCKS:
            raise ExpensiveImageError(f"more than {_MAX_BLOCKS:,} blocks")
        length = int.from_bytes(data[place : place + 1])
        place += 1 + length
        if not length:
            return place, blocks


def _check_png(data: bytes) -> None:
    _count_chunks(data, len(_PNG))


def _count_chunks(data: bytes, place: int, count: int = 0) -> int:
    """Returns the number of chunks from `place` to the end, and the `count` before them."""
    while place < len(data):
        place += 12 + int.from_bytes(data[place : place + 4])
        count += 1
        if count > _MAX_PIECES:
            raise ExpensiveImageError(f"more than {_MAX_PIECES:,} chunks")
    return count


def _check_ppm(data: bytes) -> None:
    """Checks that the header ends soon: there may be any number of spaces and comments in it."""
    if len(data) <= _MAX_HEADER:
        return
    header = re.sub(rb"#[^\r\n]*[\r\n]", b"", data[:_MAX_HEADER])
    wanted = 3 if data[1:2] in b"14" else 4
    tokens = header.split(None, wanted)[:wanted]
    if len(tokens) < wanted or any(b"#" in token for token in tokens):
        raise ExpensiveImageError(f"a header of more than {_MAX_HEADER >> 10} KiB")


def _check_icon(data: bytes) -> None:
    """Checks the images in an icon: Pillow decodes one as soon as it opens the icon, whatever size that claims."""
    chunks = 0
    for number in range(int.from_bytes(data[4:6], "little")):
        start = int.from_bytes(data[18 + 16 * number : 22 + 16 * number], "little")
        head = data[start : start + 24].ljust(24, b"\0")
        if head.startswith(_PNG):
            width, height = struct.unpack_from(">LL", head, 16)
            chunks = _count_chunks(data, start + len(_PNG), chunks)
        else:  # a bitmap without a file header, whose height counts the mask, too
            width, height = (abs(side) for side in struct.unpack_from("<ll", head, 4))
            height //= 2
        if width * height > _MAX_ICON:
            raise ExpensiveImageError(f"an image of {width} x {height} pixels in an icon")


def _check_jpeg2000(data: bytes) -> None:
    if jpeg2000.count_segments(data, most=_MAX_PIECES) > _MAX_PIECES:
        raise ExpensiveImageError(f"more than {_MAX_PIECES:,} boxes or segments")
    if jpeg2000.header_box_size(data) > _MAX_BOX:
        raise ExpensiveImageError(f"a header box of more than {_MAX_BOX >> 20} MiB")


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
    exif = info.get("exif") or b""  # None: a HEIC photo without EXIF data
    if isinstance(text := info.get("Raw profile type exif"), str) and not exif:
        try:
            exif = bytes.fromhex("".join(text.split("\n")[3:]))
        except ValueError:
            return b""
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    return bytes(exif)
