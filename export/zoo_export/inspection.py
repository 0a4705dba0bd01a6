"""Tells what an ONNX file is, from its graph and its card, without running it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.errors import ExportError
from zoo_export.card import KEY, ModelCard

if TYPE_CHECKING:
    from pathlib import Path

    import onnx


@dataclass(frozen=True, slots=True)
class Value:
    """An input or an output of a graph.

    Attributes:
        name: Of the value.
        type: ``"uint8"``, ``"float"``.
        shape: Lengths; names where they are free.
    """

    name: str
    type: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """What is known of a file.

    Attributes:
        path: Of the file.
        bytes: Its size.
        producer: What wrote it.
        opset: Of the ONNX operators; 0 where none are told.
        inputs: Of the graph, without those that have a value.
        outputs: Of the graph.
        card: What it says of itself; None for a file that ``zoo export`` did not write.
    """

    path: Path
    bytes: int
    producer: str
    opset: int
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    card: ModelCard | None

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, fit for JSON."""
        return {
            "path": str(self.path),
            "bytes": self.bytes,
            "producer": self.producer,
            "opset": self.opset,
            "inputs": [_to_dict(value) for value in self.inputs],
            "outputs": [_to_dict(value) for value in self.outputs],
            "card": None if self.card is None else self.card.to_dict(),
        }


def inspect(path: Path) -> Inspected:
    """Reads a file. Needs the package onnx; neither torch nor a runtime.

    Raises:
        ExportError: It cannot be read, is no ONNX file, or its card is broken.
    """
    import onnx

    try:
        content = path.read_bytes()
    except OSError as error:
        raise ExportError(
            f"{path} cannot be read: {error.strerror}.", hint="'zoo export RUN' writes a file."
        ) from error
    try:
        proto = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own exception, wherever its version keeps it
        raise ExportError(f"{path} is no ONNX file, or was cut off on its way.") from error
    if not proto.graph.output:
        raise ExportError(f"{path} is no ONNX file: it has no graph.")
    text = {entry.key: entry.value for entry in proto.metadata_props}.get(KEY)
    given = {tensor.name for tensor in proto.graph.initializer}
    return Inspected(
        path=path,
        bytes=len(content),
        producer=f"{proto.producer_name} {proto.producer_version}".strip(),
        opset=max((each.version for each in proto.opset_import if each.domain in ("", "ai.onnx")), default=0),
        inputs=tuple(_value(each) for each in proto.graph.input if each.name not in given),
        outputs=tuple(_value(each) for each in proto.graph.output),
        card=None if text is None else ModelCard.from_json(text, where=str(path)),
    )


def _value(info: onnx.ValueInfoProto) -> Value:
    import onnx

    tensor = info.type.tensor_type
    known = onnx.TensorProto.DataType.values()
    name = onnx.TensorProto.DataType.Name(tensor.elem_type).lower() if tensor.elem_type in known else "unknown"
    return Value(info.name, name, tuple(d.dim_param or d.dim_value or "?" for d in tensor.shape.dim))


def _to_dict(value: Value) -> dict[str, Any]:
    return {"name": value.name, "type": value.type, "shape": list(value.shape)}
