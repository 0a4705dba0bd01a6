"""Looks through an ONNX file for tensors that lie in other files, without the package onnx and without copying it.

A runtime reads such tensors from wherever the file says, below its own folder or the current one; versions differ in
how far they let it lead. What ``zoo export`` writes is whole in itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    Fields = dict[int, str]

# The messages that tensors lie in, by the numbers of the fields that hold them: onnx.proto3,
# https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3
_MESSAGES: dict[str, Fields] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # of a tensor
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5


def has_data_elsewhere(content: bytes) -> bool:
    """Returns whether a tensor of an ONNX file, however deep it lies in subgraphs, is kept in another file.

    Args:
        content: Of the file.

    Raises:
        ValueError: It is no message of protobuf.
    """
    waiting = [("model", memoryview(content))]
    while waiting:
        kind, message = waiting.pop()
        for field, value in _fields(message):
            if kind == "tensor":
                if field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value != 0):
                    return True
            elif (inner := _MESSAGES[kind].get(field)) is not None:
                if isinstance(value, int):
                    raise ValueError("a number where a message belongs")
                waiting.append((inner, value))
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yields the number of each field and its value (https://protobuf.dev/programming-guides/encoding)."""
    place, end = 0, len(message)
    while place < end:
        key, place = _varint(message, place)
        if key >> 32:  # readers in C++ drop the bits above, and would see another field
            raise ValueError("a field of a number too large")
        kind = key & 7
        if kind == _VARINT:
            value, place = _varint(message, place)
            yield key >> 3, value
            continue
        length = {_FIXED_64: 8, _FIXED_32: 4}.get(kind)
        if kind == _BYTES:
            length, place = _varint(message, place)
        if length is None or place + length > end:
            raise ValueError("a field that is cut off, or of an unknown kind")
        yield key >> 3, message[place : place + length]
        place += length


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """Returns a whole number of variable length and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            break
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("a number that does not end")
