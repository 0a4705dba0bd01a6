"""Targets for exported files: cards, graphs and tensors, with valid ones and their readers."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import zipfile
from typing import TYPE_CHECKING

from fuzz.mutations import mutate_bytes, mutate_graph, mutate_json
from google.protobuf.message import DecodeError, Message
from onnx_files import make_card, make_model

from zoo.errors import ZooError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def cards() -> list[bytes]:
    return [
        make_card().to_json().encode(),
        make_card(input="tensor", quantisation={"accuracy": 0.5}).to_json().encode(),
    ]


def read_card(content: bytes, folder: Path) -> None:
    from zoo_export.model_card import ModelCard

    read = ModelCard.from_json(content.decode(errors="surrogateescape"), where="x")
    assert ModelCard.from_json(read.to_json(), where="again") == read


@functools.cache
def graphs() -> tuple[bytes, ...]:
    return tuple(make_model(make_card(input=kind)).SerializeToString() for kind in ("pixels", "tensor"))


def mutate_onnx(rng, content: bytes, others: Sequence[bytes]) -> bytes:
    """Mutates bytes, graph values, or the card inside."""
    choice = rng.random()
    if choice < 0.4 or content.startswith(b"PK"):
        return mutate_bytes(rng, content, others)
    if choice < 0.7:
        return mutate_graph(rng, content, others)
    text = mutate_json(rng, cards()[0], cards()).decode(errors="replace")
    return bytes(make_model(make_card(), text=text).SerializeToString())


def pt2_archives() -> list[bytes]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("m/models/model.json"), "{}")
        archive.writestr(zipfile.ZipInfo("m/extra/zoo"), make_card(input="tensor", opset=0).to_json())
    return [buffer.getvalue()]


def inspect_file(content: bytes, folder: Path) -> None:
    from zoo_export import inspection

    (folder / "m.onnx").write_bytes(content)
    json.dumps(inspection.inspect_file(folder / "m.onnx").to_dict())


def load_and_predict(content: bytes, folder: Path) -> None:
    import numpy as np

    from zoo_export.runtime.predictor import load

    load(content, device="cpu", threads=1).predict(np.zeros((20, 20, 3), np.uint8))


def graphs_with_external_data() -> list[bytes]:
    from external_data_models import MODELS_WITH_EXTERNAL_DATA

    return [made.SerializeToString() for made in MODELS_WITH_EXTERNAL_DATA.values()]


def find_external_data(content: bytes, folder: Path) -> None:
    """Checks that our parser finds all external data that the format's own library finds."""
    import onnx

    from zoo_export.runtime.external_data import has_external_data

    try:
        ours = has_external_data(content)
    except ValueError as error:
        raise ZooError(str(error)) from error
    with contextlib.suppress(DecodeError):
        assert ours or not _has_external_data(onnx.load_model_from_string(content))


def _has_external_data(message: Message) -> bool:
    if message.DESCRIPTOR.name == "TensorProto":
        return bool(message.external_data) or message.data_location != 0
    values = (value for field, value in message.ListFields() if field.message_type is not None)
    parts = (each for value in values for each in ([value] if isinstance(value, Message) else value))
    return any(map(_has_external_data, parts))
