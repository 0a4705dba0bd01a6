"""Doors for exported files: their cards, their graphs, and their tensors; whole ones, and what reads them."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import zipfile
from typing import TYPE_CHECKING

from fuzz.mutations import scramble, spoil_graph, spoil_json
from google.protobuf.message import DecodeError, Message
from onnx_files import card, model

from zoo.errors import ZooError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def cards() -> list[bytes]:
    return [card().to_json().encode(), card(input="tensor", quantisation={"accuracy": 0.5}).to_json().encode()]


def read_card(content: bytes, folder: Path) -> None:
    from zoo_export.card import ModelCard

    read = ModelCard.from_json(content.decode(errors="surrogateescape"), where="x")
    assert ModelCard.from_json(read.to_json(), where="again") == read


@functools.cache
def graphs() -> tuple[bytes, ...]:
    return tuple(model(card(input=kind)).SerializeToString() for kind in ("pixels", "tensor"))


def spoil_onnx(random, content: bytes, others: Sequence[bytes]) -> bytes:
    """Spoils bytes, or values of the graph, or the card inside."""
    way = random.random()
    if way < 0.4 or content.startswith(b"PK"):
        return scramble(random, content, others)
    if way < 0.7:
        return spoil_graph(random, content, others)
    text = spoil_json(random, cards()[0], cards()).decode(errors="replace")
    return bytes(model(card(), text=text).SerializeToString())


def pt2_archives() -> list[bytes]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("m/models/model.json"), "{}")
        archive.writestr(zipfile.ZipInfo("m/extra/zoo"), card(input="tensor", opset=0).to_json())
    return [buffer.getvalue()]


def inspect_file(content: bytes, folder: Path) -> None:
    from zoo_export.inspection import inspect

    (folder / "m.onnx").write_bytes(content)
    json.dumps(inspect(folder / "m.onnx").to_dict())


def load_and_predict(content: bytes, folder: Path) -> None:
    import numpy as np

    from zoo_export.predictor import load

    load(content, device="cpu", threads=1).predict(np.zeros((20, 20, 3), np.uint8))


def graphs_elsewhere() -> list[bytes]:
    from onnx_elsewhere import ELSEWHERE

    return [made.SerializeToString() for made in ELSEWHERE.values()]


def find_data_elsewhere(content: bytes, folder: Path) -> None:
    """What the format's own library finds, we find too."""
    import onnx

    from zoo_export.wire import has_data_elsewhere

    try:
        ours = has_data_elsewhere(content)
    except ValueError as error:
        raise ZooError(str(error)) from error
    with contextlib.suppress(DecodeError):
        assert ours or not _kept_elsewhere(onnx.load_model_from_string(content))


def _kept_elsewhere(message: Message) -> bool:
    if message.DESCRIPTOR.name == "TensorProto":
        return bool(message.external_data) or message.data_location != 0
    values = (value for field, value in message.ListFields() if field.message_type is not None)
    parts = (each for value in values for each in ([value] if isinstance(value, Message) else value))
    return any(map(_kept_elsewhere, parts))
