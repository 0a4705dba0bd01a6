"""Describes an exported file from its graph and its card, without running it."""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from zoo.errors import ExportError
from zoo.utils.fetch.unzip import open_zip
from zoo_export.exported_files import read_exported
from zoo_export.model_card import FAMILIARITY, KEY, MAX_TEXT, OUTPUTS, TENSOR, ModelCard
from zoo_export.runtime.external_data import OversizedError, has_external_data
from zoo_export.security.digest import check_digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnx

_ZIP = b"PK\x03\x04"
_CARD_IN_ARCHIVE = f"/extra/{KEY}"
_MAX_ENTRIES = 100_000


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """An input or an output of a graph.

    Attributes:
        name: Its name.
        type: ``"uint8"``, ``"float"``.
        shape: Its lengths; a name for each length that varies.
    """

    name: str
    type: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """Everything known about a file.

    Attributes:
        path: The file.
        bytes: Its size on disk.
        producer: The tool that wrote it.
        opset: Version of the ONNX operators; 0 if there is none, as in an archive of `torch.export`.
        inputs: The inputs of the graph that have no default.
        outputs: The outputs of the graph.
        card: Its card; None for a file that ``zoo export`` did not write.
    """

    path: Path
    bytes: int
    producer: str
    opset: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    card: ModelCard | None

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, ready for JSON."""
        return {
            "path": str(self.path),
            "bytes": self.bytes,
            "producer": self.producer,
            "opset": self.opset,
            "inputs": [_to_dict(value) for value in self.inputs],
            "outputs": [_to_dict(value) for value in self.outputs],
            "card": None if self.card is None else self.card.to_dict(),
        }


def inspect_file(path: Path, *, ask: Callable[[str], str] | None = None, check: bool = True) -> Inspection:
    """Reads an ONNX file or an archive of `torch.export`. Requires the package onnx, but neither torch nor a runtime.

    Args:
        path: The file. A file of ``zoo encrypt`` is decrypted into memory.
        ask: Prompts for the passphrase of an encrypted file if no environment variable names its secret.
        check: Whether to compare the file with the digest inside it, and with a manifest beside it.

    Raises:
        ExportError: The file cannot be read, is neither of the two, or has an invalid card.
        IntegrityError: The file was changed; or it is encrypted, and no key or passphrase opens it.
    """
    content, digests = read_exported(path, ask=ask, check=check)
    inspection = _inspect_archive(content, path) if content.startswith(_ZIP) else _inspect_onnx(content, path)
    if check and inspection.card is not None:
        check_digest(digests, name=str(path), expected=inspection.card.has_digest)
    return replace(inspection, bytes=path.stat().st_size)


def read_card(path: Path, *, check: bool = True) -> ModelCard:
    """Returns the card of an exported file.

    Args:
        path: The file.
        check: As in `inspect_file`.

    Raises:
        ExportError: The file is damaged, or ``zoo export`` did not write it.
        IntegrityError: It was changed since.
    """
    card = inspect_file(path, check=check).card
    if card is None:
        raise ExportError(f"{path} has no model card.", hint="Pass a file that 'zoo export' wrote.")
    return card


def _inspect_onnx(content: bytes, path: Path) -> Inspection:
    import onnx

    try:
        has_external_data(content)
    except OversizedError as error:
        raise ExportError(f"{path} cannot be read: {error}.", hint="Pass a file that 'zoo export' wrote.") from None
    except ValueError:  # no ONNX file, as its package will say
        pass
    try:
        proto = onnx.load_model_from_string(content)
    except Exception as error:  # an exception of protobuf, whose module depends on the version
        raise ExportError(f"{path} is not an ONNX file, or is truncated.") from error
    if not proto.graph.output:
        raise ExportError(f"{path} is not an ONNX file: it has no graph.")
    text = {entry.key: entry.value for entry in proto.metadata_props}.get(KEY)
    defaults = {tensor.name for tensor in proto.graph.initializer}
    return Inspection(
        path=path,
        bytes=len(content),
        producer=f"{proto.producer_name} {proto.producer_version}".strip(),
        opset=max((each.version for each in proto.opset_import if each.domain in ("", "ai.onnx")), default=0),
        inputs=tuple(_tensor_info(each) for each in proto.graph.input if each.name not in defaults),
        outputs=tuple(_tensor_info(each) for each in proto.graph.output),
        card=None if text is None else ModelCard.from_json(text, where=str(path)),
    )


def _inspect_archive(content: bytes, path: Path) -> Inspection:
    """Reads the card in an archive of `torch.export`; only torch could read the network itself."""
    try:
        with open_zip(io.BytesIO(content), most=_MAX_ENTRIES) as archive:
            (name,) = (each for each in archive.namelist() if each.endswith(_CARD_IN_ARCHIVE))
            with archive.open(name) as file:
                text = file.read(MAX_TEXT + 1).decode("utf-8")
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ExportError(f"{path} is not an archive of 'zoo export --to pt2', or is truncated.") from error
    card = ModelCard.from_json(text, where=str(path))
    batch, height, width = "batch", *card.preprocess.size
    shapes: dict[str, tuple[str, ...]] = {"heatmap": ("height", "width"), FAMILIARITY: ()}
    return Inspection(
        path=path,
        bytes=len(content),
        producer=f"torch.export {card.versions.get('torch', '')}".strip(),
        opset=0,
        inputs=(TensorInfo(TENSOR, "float", (batch, 3, height, width)),),
        outputs=tuple(
            TensorInfo(name, "float", (batch, *shapes.get(name, (len(card.classes),))))
            for name in (*OUTPUTS, *([] if card.familiarity is None else [FAMILIARITY]))
        ),
        card=card,
    )


def _tensor_info(value: onnx.ValueInfoProto) -> TensorInfo:
    import onnx

    tensor = value.type.tensor_type
    known = onnx.TensorProto.DataType.values()
    name = onnx.TensorProto.DataType.Name(tensor.elem_type).lower() if tensor.elem_type in known else "unknown"
    return TensorInfo(value.name, name, tuple(d.dim_param or d.dim_value or "?" for d in tensor.shape.dim))


def _to_dict(value: TensorInfo) -> dict[str, Any]:
    return {"name": value.name, "type": value.type, "shape": list(value.shape)}
