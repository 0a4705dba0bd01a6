"""The card of a file that is being made: what made it, from what."""

from __future__ import annotations

import hashlib
import importlib.metadata
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from zoo.plugins.discovery import DISTRIBUTION
from zoo_export.card import KEY, ModelCard

if TYPE_CHECKING:
    from zoo.models.classifier import Classifier
    from zoo.runs.run import Run
    from zoo_export.card import InputKind

_PACKAGES = (DISTRIBUTION, "torch", "torchvision", "timm", "onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu")
# What tools that do not know us may read: https://github.com/onnx/onnx/blob/main/docs/MetadataProps.md
_IMAGE_PROPERTIES = {
    "Image.BitmapPixelFormat": "Rgb8",
    "Image.ColorSpaceGamma": "SRGB",
    "Image.NominalPixelRange": "NominalRange_0_255",
}


def card_of(run: Run, classifier: Classifier, *, input: InputKind, opset: int) -> ModelCard:
    """Returns the card of a run's file in float32, not compared with the run yet."""
    with run.weights_path.open("rb") as weights:
        digest = hashlib.file_digest(weights, "sha256").hexdigest()
    results = {part: run.results[part] for part in ("val", "test") if part in run.results}
    return ModelCard(
        classes=run.classes,
        preprocess=run.preprocess,
        input=input,
        activation="sigmoid" if classifier.head.criterion.name == "bce" else "softmax",
        precision="fp32",
        backbone=run.backbone,
        head=run.head,
        run={"name": run.name, "created": run.record.get("created", ""), "results": results},
        data=_data(run),
        weights=_started_from(run),
        weights_sha256=digest,
        versions=_versions(),
        opset=opset,
        exported=datetime.now(UTC).isoformat(timespec="seconds"),
        parity={"verified": False},
    )


def _data(run: Run) -> dict[str, Any]:
    """Returns what the photos were, and how many of the test were trained on, if the run's record tells of any."""
    told = {"name": run.record.get("data", {}).get("name", ""), "fingerprint": run.fingerprint}
    return {**told, "leaks": list(run.leaks)} if run.leaks else told


def _started_from(run: Run) -> str:
    """Returns what the run says of its first weights; of a file its name alone: a folder is nobody else's business."""
    told, named = str(run.record.get("weights", "")), Path(str(run.record.get("config", {}).get("weights", "")))
    for path in (named.resolve(), named):
        if path.name:
            told = told.replace(str(path), path.name)
    return told


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def with_card(proto: onnx.ModelProto, card: ModelCard) -> bytes:
    """Returns the content of the file: a graph and its card."""
    proto.producer_name, proto.producer_version = DISTRIBUTION, card.versions[DISTRIBUTION]
    proto.doc_string = f"{card.backbone} with {card.head}: {', '.join(card.classes[:20])}"
    properties: dict[str, Any] = {KEY: card.to_json(), **(_IMAGE_PROPERTIES if card.input == "pixels" else {})}
    onnx.helper.set_model_props(proto, properties)
    return bytes(proto.SerializeToString())
