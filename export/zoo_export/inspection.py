"""Tells what an exported file is, from its graph and its card, without running it."""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from zoo.errors import ExportError
from zoo.utils.files import read_plain
from zoo_export.card import KEY, MAX_TEXT, OUTPUTS, TENSOR, ModelCard
from zoo_export.secrecy import SUFFIX, find_secret, read_decrypted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnx

_ZIP = b"PK\x03\x04"
_CARD_IN_ARCHIVE = f"/extra/{KEY}"


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
        bytes: Its size; of an encrypted file, as it lies there.
        producer: What wrote it.
        opset: Of the ONNX operators; 0 where none are told, and of an archive of `torch.export`.
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


def inspect(path: Path, *, ask: Callable[[str], str] | None = None) -> Inspected:
    """Reads an ONNX file or an archive of `torch.export`. Needs the package onnx; neither torch nor a runtime.

    Args:
        path: Of the file. One of ``zoo encrypt`` is decrypted into memory.
        ask: Asked for the passphrase of an encrypted file that no variable names a secret for.

    Raises:
        ExportError: It cannot be read, is neither of the two, or its card is broken.
        IntegrityError: It is encrypted, and there is no key or passphrase that opens it; or it was changed.
    """
    try:
        content = read_plain(path, most=None)
    except OSError as error:
        raise ExportError(
            f"{path} cannot be read: {error.strerror}.", hint="'zoo export RUN' writes a file."
        ) from error
    size = len(content)
    if path.suffix.lower() == SUFFIX:
        content = read_decrypted(path, find_secret(path, ask=ask))
    read = _inspected_archive if content.startswith(_ZIP) else _inspected_onnx
    return replace(read(content, path), bytes=size)


def _inspected_onnx(content: bytes, path: Path) -> Inspected:
    import onnx

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


def _inspected_archive(content: bytes, path: Path) -> Inspected:
    """Reads the card in an archive of `torch.export`; of the network itself only torch can tell more."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            (name,) = (each for each in archive.namelist() if each.endswith(_CARD_IN_ARCHIVE))
            with archive.open(name) as file:
                text = file.read(MAX_TEXT + 1).decode("utf-8")
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ExportError(f"{path} is no archive of 'zoo export --to pt2', or was cut off on its way.") from error
    card = ModelCard.from_json(text, where=str(path))
    rows, height, width = "batch", *card.preprocess.size
    return Inspected(
        path=path,
        bytes=len(content),
        producer=f"torch.export {card.versions.get('torch', '')}".strip(),
        opset=0,
        inputs=(Value(TENSOR, "float", (rows, 3, height, width)),),
        outputs=tuple(
            Value(name, "float", (rows, "height", "width") if name == "heatmap" else (rows, len(card.classes)))
            for name in OUTPUTS
        ),
        card=card,
    )


def _value(info: onnx.ValueInfoProto) -> Value:
    import onnx

    tensor = info.type.tensor_type
    known = onnx.TensorProto.DataType.values()
    name = onnx.TensorProto.DataType.Name(tensor.elem_type).lower() if tensor.elem_type in known else "unknown"
    return Value(info.name, name, tuple(d.dim_param or d.dim_value or "?" for d in tensor.shape.dim))


def _to_dict(value: Value) -> dict[str, Any]:
    return {"name": value.name, "type": value.type, "shape": list(value.shape)}
