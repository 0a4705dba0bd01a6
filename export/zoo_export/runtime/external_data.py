"""Finds tensors that an ONNX file keeps in other files, without the package onnx and without copying the file.

A runtime reads external data from wherever the file points, relative to the folder of the file or to the working
directory; how far it follows such a path depends on its version. ``zoo export`` writes self-contained files only. No
other code reads a file before this one, so it also limits what the others have to read.
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
_VALUES = frozenset((4, 5, 7, 9, 10, 11))  # fields of a tensor with its numbers
MAX_FIELDS = 1_000_000  # some thousands are usual; each is read in Python
MAX_TEXT = 32 << 20  # bytes beside the numbers of tensors, such as names and metadata: runtimes copy them several times


class OversizedError(ValueError):
    """An ONNX file has more than any graph needs; the message says more of what."""


def has_external_data(content: bytes) -> bool:
    """Returns whether any tensor of an ONNX file, at any depth of its subgraphs, is stored in another file.

    Args:
        content: The bytes of the ONNX file.

    Raises:
        OversizedError: The file has too many fields, or too much text.
        ValueError: The bytes are not a protobuf message.
    """
    pending, fields, text = [("model", memoryview(content))], 0, 0
    while pending:
        kind, message = pending.pop()
        for field, value in read_fields(message):
            fields += 1
            if fields > MAX_FIELDS:
                raise OversizedError(f"it has more than {MAX_FIELDS:,} fields")
            if isinstance(value, memoryview) and field not in (_VALUES if kind == "tensor" else _MESSAGES[kind]):
                text += len(value)
                if text > MAX_TEXT:
                    raise OversizedError(f"it has more than {MAX_TEXT >> 20} MiB of text and metadata")
            if kind == "tensor":
                if field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value != 0):
                    return True
            elif (inner := _MESSAGES[kind].get(field)) is not None:
                if isinstance(value, int):
                    raise ValueError("a number in place of a message")
                pending.append((inner, value))
    return False
