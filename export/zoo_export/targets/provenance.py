"""Builds the card of a file that is being exported: its contents and its origin."""

from __future__ import annotations

import hashlib
import importlib.metadata
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.plugins.entry_points import DISTRIBUTION
from zoo_export.model_card import ModelCard

if TYPE_CHECKING:
    from zoo.models.classifier import Classifier
    from zoo.runs.run import RunFolder
    from zoo_export.model_card import InputKind

_PACKAGES = (DISTRIBUTION, "torch", "torchvision", "timm", "onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu")


def build_card(run: RunFolder, classifier: Classifier, *, input: InputKind, opset: int, has_digest: bool) -> ModelCard:
    """Returns the card of a run's file in float32, before any comparison."""
    with run.weights_path.open("rb") as weights:
        digest = hashlib.file_digest(weights, "sha256").hexdigest()
    results = {split: run.results[split] for split in ("val", "test") if split in run.results}
    return ModelCard(
        classes=run.classes,
        preprocess=run.preprocess,
        input=input,
        activation=classifier.head.criterion.activation,
        precision="fp32",
        backbone=run.backbone,
        head=run.head,
        run={"name": run.name, "created": run.record.created, "results": results},
        data=_describe_data(run),
        weights=_describe_weights(run),
        weights_sha256=digest,
        versions=_package_versions(),
        opset=opset,
        exported=datetime.now(UTC).isoformat(timespec="seconds"),
        parity={"verified": False},
        has_digest=has_digest,
        multi_label=run.multi_label,
        thresholds=run.thresholds,
        decision=run.decision,
        calibration=run.calibration,
        familiarity=run.familiarity,
    )


def _describe_data(run: RunFolder) -> dict[str, Any]:
    """Returns name and fingerprint of the data and, if the run recorded any, its leaks of test photos into training."""
    data = {"name": run.record.data.name, "fingerprint": run.fingerprint}
    return {**data, "leaks": list(run.leaks)} if run.leaks else data


def _describe_weights(run: RunFolder) -> str:
    """Returns the run's line on its initial weights, with the folders of a weights file removed: they are private."""
    text, weights = run.record.weights, Path(str(run.record.config.get("weights", "")))
    for path in (weights.resolve(), weights):
        if path.name:
            text = text.replace(str(path), path.name)
    return text


def _package_versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions
