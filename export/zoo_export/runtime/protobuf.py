"""Reads and writes protobuf messages, https://protobuf.dev/programming-guides/encoding, without its package."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

VARINT, _FIXED_64, BYTES, _FIXED_32 = 0, 1, 2, 5


def read_fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yields the number and the value of each field: an integer, or the bytes of a text or of another message.

    Raises:
        ValueError: The bytes are not a protobuf message.
    """
    position, end = 0, len(message)
    while position < end:
        key, position = _read_varint(message, position)
        if key >> 32:  # C++ readers drop the upper bits, and would see a different field
            raise ValueError("a field number that is too large")
        kind = key & 7
        if kind == VARINT:
            value, position = _read_varint(message, position)
            yield key >> 3, value
            continue
        length = {_FIXED_64: 8, _FIXED_32: 4}.get(kind)
        if kind == BYTES:
            length, position = _read_varint(message, position)
        if length is None or position + length > end:
            raise ValueError("a field that is truncated or of an unknown type")
        yield key >> 3, message[position : position + length]
        position += length


def write_field(number: int, value: int | bytes | memoryview) -> bytes:
    """Returns a field: an integer that is not negative, or the bytes of a text or of another message."""
    if isinstance(value, int):
        return _write_varint(number << 3 | VARINT) + _write_varint(value)
    return _write_varint(number << 3 | BYTES) + _write_varint(len(value)) + bytes(value)


def _read_varint(message: memoryview, position: int) -> tuple[int, int]:
    """Returns an integer of variable length, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            break
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("an integer that does not end")


def _write_varint(value: int) -> bytes:
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])
