"""Finds tensors that an ONNX file keeps in other files, without the package onnx and without copying the file.

A runtime reads external data from wherever the file points, relative to the folder of the file or to the working
directory; how far it follows such a path depends on its version. ``zoo export`` writes self-contained files only.
"""

from __future__ import annotations

from zoo_export.runtime.protobuf import read_fields

# The messages that may contain tensors, each with the field numbers that lead to the next message:
# https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3
_MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # fields of a tensor


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
        for field, value in read_fields(message):
            if kind == "tensor":
                if field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value != 0):
                    return True
            elif (inner := _MESSAGES[kind].get(field)) is not None:
                if isinstance(value, int):
                    raise ValueError("a number in place of a message")
                pending.append((inner, value))
    return False
