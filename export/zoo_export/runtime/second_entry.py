"""The second entry of an exported file: for images that are preprocessed already, over the same weights.

A graph that takes raw pixels resizes every photo, whatever its size. The predictor preprocesses photos before they
share a batch, so it leaves the resize out: the same pixels in a tenth of the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo_export.model_card import PIXELS, RESIZE, RESIZED
from zoo_export.runtime.protobuf import read_fields, write_field

if TYPE_CHECKING:
    from collections.abc import Iterator

# Field numbers of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3
_GRAPH = 7
_NODE, _INITIALIZER = 1, 5
_NAME = {_NODE: 3, _INITIALIZER: 8}
_FLOAT, _INT, _INTS = 1, 2, 7  # a type of tensors, and types of attributes


def without_resize(content: bytes) -> bytes | None:
    """Returns a graph that takes preprocessed images, uint8 ``(N, *size, 3)``, in place of raw pixels.

    Args:
        content: The content of an ONNX file.

    Returns:
        The content of another one; None if the graph has no resize to leave out, as in files of earlier versions and
        those that take tensors.

    Raises:
        ValueError: The content is not an ONNX file.
    """
    model = list(read_fields(memoryview(content)))
    graphs = [value for number, value in model if number == _GRAPH]
    if len(graphs) != 1 or isinstance(graphs[0], int):
        return None
    fields = list(read_fields(graphs[0]))
    kept = [(number, value) for number, value in fields if not _belongs_to_resize(number, value)]
    if len(kept) == len(fields):
        return None
    graph = b"".join([*_planes(), *(write_field(*field) for field in kept)])
    return b"".join(write_field(number, graph if number == _GRAPH else value) for number, value in model)


def _belongs_to_resize(number: int, value: int | memoryview) -> bool:
    if number not in _NAME or isinstance(value, int):
        return False
    names = (bytes(text) for field, text in read_fields(value) if field == _NAME[number] and not isinstance(text, int))
    return any(name.startswith(f"{RESIZE}/".encode()) for name in names)


def _planes() -> Iterator[bytes]:
    """Yields the operators that turn images into what the resize returns: float32 ``(N, 3, *size)``."""
    permutation = b"".join(write_field(8, axis) for axis in (0, 3, 1, 2))
    yield _node("Transpose", PIXELS, f"{RESIZE}d/transposed", write_field(1, b"perm") + permutation, kind=_INTS)
    yield _node("Cast", f"{RESIZE}d/transposed", RESIZED, write_field(1, b"to") + write_field(3, _FLOAT), kind=_INT)


def _node(operator: str, source: str, result: str, attribute: bytes, *, kind: int) -> bytes:
    texts = ((1, source), (2, result), (3, result), (4, operator))
    node = b"".join(write_field(number, text.encode()) for number, text in texts)
    return write_field(_NODE, node + write_field(5, attribute + write_field(20, kind)))
