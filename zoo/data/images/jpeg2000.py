"""What decoding a JPEG 2000 image takes, from the headers of its codestream.

OpenJPEG keeps a structure for every code block and visits every packet, whether the file has data for it or not, so a
file of a few kilobytes can take gigabytes and minutes. Source: ITU-T T.800, annex A.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CODESTREAM = b"\xff\x4f\xff\x51"
STARTS = (_CODESTREAM, b"\0\0\0\x0cjP  \r\n\x87\n")
_SIZ, _COD, _COC, _SOT, _SOD = 0x51, 0x52, 0x53, 0x90, 0x93
# Measured with OpenJPEG 2.5: bytes of a sample while its tile is decoded, of a code block, and of a tile's settings.
_SAMPLE_BYTES, _BLOCK_BYTES, _TILE_BYTES = 5, 450, 12_000
_SAMPLE_SECONDS, _BYTE_SECONDS, _BLOCK_SECONDS, _PACKET_SECONDS = 2.2e-8, 1.8e-7, 3e-7, 2e-6


@dataclass(frozen=True, slots=True)
class _Coding:
    """How a tile is coded, as a COD or COC segment says."""

    layers: int
    width_exponent: int  # of a code block
    height_exponent: int
    precincts: tuple[tuple[int, int], ...]  # exponents of width and height, one for each resolution


@dataclass(frozen=True, slots=True)
class _Frame:
    """The sizes in an SIZ segment."""

    tile: tuple[int, int]  # width and height, at most those of the image
    tiles: int
    components: int
    planes: float  # the components, each counted by its share of the image's samples
    area: int


def header_box_size(data: bytes) -> int:
    """Returns the bytes of the header box, which Pillow reads; 0 if there is none."""
    return next((length for kind, _, length in _boxes(data) if kind == b"jp2h"), 0)


def count_segments(data: bytes, *, most: int) -> int:
    """Returns the number of boxes and of segments in headers, or `most` + 1 if there are more."""
    return sum(1 for _ in islice(chain(_boxes(data), _segments(data)), most + 1))


def estimate_decoding(data: bytes) -> tuple[int, float]:
    """Returns the memory in bytes and the seconds that OpenJPEG takes, beyond what Pillow returns.

    Raises:
        ValueError: The headers are broken.
    """
    try:
        segments = [(marker, data[begin:end]) for marker, begin, end in _segments(data) if marker in (_SIZ, _COD, _COC)]
        frame = _read_frame(segments[0][1])
        codings = list(_read_codings(segments[1:], wide=frame.components > 256))
    except (struct.error, IndexError, ValueError):
        raise ValueError("the headers of its codestream are broken") from None
    counted = [_count(frame.tile, coding) for coding in codings]
    blocks = max((blocks for blocks, _ in counted), default=0) * frame.planes
    packets = max((packets for _, packets in counted), default=0) * frame.planes
    tile_area = frame.tile[0] * frame.tile[1]
    memory = frame.planes * tile_area * _SAMPLE_BYTES + blocks * _BLOCK_BYTES + frame.tiles * _TILE_BYTES
    seconds = frame.planes * frame.area * _SAMPLE_SECONDS + len(data) * _BYTE_SECONDS
    seconds += frame.tiles * (blocks * _BLOCK_SECONDS + packets * _PACKET_SECONDS)
    return int(memory), seconds


def _boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields the kind, the start of the content and the length of each box, up to the one with the codestream."""
    place = 0
    while not data.startswith(_CODESTREAM) and place + 8 <= len(data):
        length, kind = struct.unpack_from(">L4s", data, place)
        head = 16 if length == 1 else 8
        if length == 1:
            length = int.from_bytes(data[place + 8 : place + 16])
        yield kind, place + head, length
        if kind == b"jp2c" or length < head:
            return
        place += length


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yields the marker of each segment in the main header and in those of the tile parts, and where its content is."""
    start = next((begin for kind, begin, _ in _boxes(data) if kind == b"jp2c"), 0)
    place, part, length = start + 2, start, 0
    while data.startswith(_CODESTREAM, start) and place + 4 <= len(data):
        marker, size = data[place + 1], int.from_bytes(data[place + 2 : place + 4])
        yield marker, place + 4, place + 2 + size
        if marker == _SOT:
            part, length = place, int.from_bytes(data[place + 6 : place + 10])
        if marker != _SOD:
            place += 2 + max(size, 2)
        elif length:
            place = max(part + length, place + 2)
        else:  # the last part reaches to the end of the file
            return


def _read_frame(siz: bytes) -> _Frame:
    _, right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, components = struct.unpack_from(
        ">HLLLLLLLLH", siz
    )
    steps = struct.iter_unpack(">BBB", siz[36 : 36 + 3 * components])
    planes = sum(1 / (horizontal * vertical) for _, horizontal, vertical in steps if horizontal * vertical)
    width, height = right - left, bottom - top
    if min(width, height, tile_width, tile_height) < 1:
        raise ValueError("a side of the image or of its tiles is empty")
    columns, rows = (right - tile_left - 1) // tile_width + 1, (bottom - tile_top - 1) // tile_height + 1
    tile = (min(width, tile_width), min(height, tile_height))
    return _Frame(tile, max(1, columns * rows), components, planes, width * height)


def _read_codings(segments: list[tuple[int, bytes]], *, wide: bool) -> Iterator[_Coding]:
    """Yields every coding: a tile or a component may have its own."""
    layers = 1
    for marker, content in segments:
        if marker == _COD:
            layers = max(layers, int.from_bytes(content[2:4]))
            begin, own_precincts = 5, content[0] & 1
        elif marker == _COC:
            begin = 3 if wide else 2
            own_precincts = content[begin - 1] & 1
        else:
            continue
        levels, width, height = content[begin : begin + 3]
        sizes = content[begin + 5 : begin + 6 + levels] if own_precincts else b""
        precincts = [(size & 15, size >> 4) for size in sizes.ljust(levels + 1, b"\xff")]
        yield _Coding(layers, (width & 15) + 2, (height & 15) + 2, tuple(precincts[: levels + 1]))


def _count(tile: tuple[int, int], coding: _Coding) -> tuple[int, int]:
    """Returns the numbers of code blocks and of packets of one component of a tile."""
    blocks = precincts = 0
    for resolution, exponents in enumerate(coding.precincts):
        levels_above = len(coding.precincts) - 1 - resolution
        sides = [math.ceil(side / 2**levels_above) for side in tile]
        halved = 1 if resolution else 0  # above the lowest resolution there are three bands of half the size
        precincts_here = math.prod(math.ceil(side / 2**size) for side, size in zip(sides, exponents, strict=True))
        limits = zip((coding.width_exponent, coding.height_exponent), exponents, strict=True)
        block = [2 ** min(limit, max(0, size - halved)) for limit, size in limits]
        bands = math.prod(math.ceil(side / 2**halved / length) for side, length in zip(sides, block, strict=True))
        blocks += (3 if resolution else 1) * bands + precincts_here
        precincts += precincts_here
    return blocks, precincts * coding.layers
