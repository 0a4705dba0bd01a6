"""Finds tensors that an ONNX file keeps in other files, without the package onnx and without copying the file.

A runtime reads external data from wherever the file points, relative to the folder of the file or to the working
directory; how far it follows such a path depends on its version. ``zoo export`` writes self-contained files only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    Fields = dict[int, str]

# The messages that may contain tensors, each with the field numbers that lead to the next message:
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
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # fields of a tensor
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5


def has_external_data(content: bytes) -> bool:
    """Returns whether any tensor of an ONNX file, at any depth of its subgraphs, is stored in another file.

    Args:
        content: The bytes of the ONNX file.

    Raises:
        ValueError: The bytes are not a protobuf message.
    """
    pending = [("model", memoryview(content))]
    while pending:
        kind, message = pending.pop()
        for field, value in _fields(message):
            if kind == "tensor":
                if field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value != 0):
                    return True
            elif (inner := _MESSAGES[kind].get(field)) is not None:
                if isinstance(value, int):
                    raise ValueError("a number in place of a message")
                pending.append((inner, value))
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yields the number and the value of each field (https://protobuf.dev/programming-guides/encoding)."""
    position, end = 0, len(message)
    while position < end:
        key, position = _varint(message, position)
        if key >> 32:  # C++ readers drop the upper bits, and would see a different field
            raise ValueError("a field number that is too large")
        kind = key & 7
        if kind == _VARINT:
            value, position = _varint(message, position)
            yield key >> 3, value
            continue
        length = {_FIXED_64: 8, _FIXED_32: 4}.get(kind)
        if kind == _BYTES:
            length, position = _varint(message, position)
        if length is None or position + length > end:
            raise ValueError("a field that is truncated or of an unknown type")
        yield key >> 3, message[position : position + length]
        position += length


def _varint(message: memoryview, position: int) -> tuple[int, int]:
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
