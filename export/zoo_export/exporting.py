"""From a run to one file that takes raw pixels, proven equal to the run before it is written."""

from __future__ import annotations

import hashlib
import importlib.metadata
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from zoo.errors import DataError, ExportError
from zoo.evaluation import find_samples
from zoo.events import Work, ignore
from zoo.plugins import DISTRIBUTION, load_registry
from zoo.run import written_aside
from zoo_export.card import KEY, ModelCard
from zoo_export.files import FILE, take_in

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    from zoo.events import Observer
    from zoo.model import Classifier
    from zoo.registry import Registry
    from zoo.run import Run
    from zoo.specs import Sample
    from zoo_export.card import InputKind

PHOTOS = 64  # compared by default: seconds for a small network
DEFAULT_OPSET = 18  # read by every ONNX Runtime since 1.14, of 2023
_PACKAGES = (DISTRIBUTION, "torch", "torchvision", "timm", "onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu")
# What tools that do not know us may read: https://github.com/onnx/onnx/blob/main/docs/MetadataProps.md
_IMAGE_PROPERTIES = {
    "Image.BitmapPixelFormat": "Rgb8",
    "Image.ColorSpaceGamma": "SRGB",
    "Image.NominalPixelRange": "NominalRange_0_255",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A file that was written.

    Attributes:
        path: Of the file.
        card: What it says of itself.
        bytes: Its size.
        seconds: What it took, the comparison included.
    """

    path: Path
    card: ModelCard
    bytes: int
    seconds: float


def export(
    run: Run,
    target: Path | None = None,
    *,
    input: InputKind = "pixels",
    opset: int = DEFAULT_OPSET,
    verify: bool = True,
    data: str | None = None,
    photos: int = PHOTOS,
    device: str = "auto",
    observer: Observer = ignore,
    registry: Registry | None = None,
) -> Exported:
    """Exports a run to ONNX, compares the file with the run, and writes it.

    Args:
        run: A run with weights.
        target: The file; ``model.onnx`` in the run's folder by default.
        input: ``"pixels"`` puts the run's preprocessing into the graph; ``"tensor"`` leaves it to the caller.
        opset: Of the ONNX operators, 18 to 25.
        verify: Whether to compare; the file tells if not.
        data: What to compare on, a dataset's name, a folder or a CSV; the run's own validation photos by default.
        photos: How many of them, taken evenly.
        device: What to compare on: ``"auto"`` is everything there is; ``"cpu"``; ``"cuda"``, or an error.
        observer: Told of progress.
        registry: Of plugins; found in the environment by default.

    Raises:
        ExportError: It cannot be exported or differs from the run; nothing is then written.
        RunError: The run's files are broken, or the target cannot be written.
    """
    began = time.monotonic()
    registry = registry or load_registry()
    target = _checked_target(run, target)
    samples = _samples(run, data, photos, registry, observer) if verify else []
    from zoo.predictor import rebuild

    classifier = rebuild(run, registry).classifier.eval()
    observer(Work(what="write the network as ONNX", done=0, total=None))
    proto = _graph(run, classifier, input=input, opset=opset)
    card = _card(run, classifier, input=input, opset=opset)
    if verify:
        from zoo_export.parity import compare

        devices = _devices(device)
        report = compare(proto.SerializeToString(), card, classifier, samples, devices=devices, observer=observer)
        card = replace(card, parity={**report.to_dict(), "data": data or "validation"})
    content = _with_card(proto, card).SerializeToString()
    with written_aside(target) as aside:
        aside.write_bytes(content)
    take_in(target)
    return Exported(path=target, card=card, bytes=len(content), seconds=time.monotonic() - began)


def _checked_target(run: Run, target: Path | None) -> Path:
    """Returns where the file goes, before anything slow begins."""
    target = target or run.path / FILE
    if target.is_dir():
        raise ExportError(f"{target} is a folder.", hint=f"Name a file: {target / FILE}.")
    if not target.parent.is_dir():
        raise ExportError(f"There is no folder {target.parent} to write {target.name} to.", hint="Make it first.")
    return target


def _samples(run: Run, data: str | None, photos: int, registry: Registry, observer: Observer) -> list[Sample]:
    # Photos of other data are all unseen, and a folder of class folders has no validation part.
    part = "val" if data is None else "test"
    try:
        found = find_samples(run, part=part, data=data, registry=registry, observer=observer)
    except DataError as error:
        raise ExportError(
            f"There are no photos to compare {run.name} and its file on: {error.message}",
            hint="Name others with --data, or say --no-verify: the file then tells that it was not verified.",
        ) from error
    count = min(photos, len(found))
    return [found[i * len(found) // count] for i in range(count)]


def _graph(run: Run, classifier: Classifier, *, input: InputKind, opset: int) -> onnx.ModelProto:
    from zoo_export.network import Deployed, to_onnx
    from zoo_export.preprocessing import put_before

    proto = to_onnx(Deployed(classifier), size=run.preprocess.size, opset=opset)
    if input == "pixels":
        put_before(proto.graph, run.preprocess)
    return proto


def _card(run: Run, classifier: Classifier, *, input: InputKind, opset: int) -> ModelCard:
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
        data={"name": run.record.get("data", {}).get("name", ""), "fingerprint": run.fingerprint},
        weights=str(run.record.get("weights", "")),
        weights_sha256=digest,
        versions=_versions(),
        opset=opset,
        exported=datetime.now(UTC).isoformat(timespec="seconds"),
        parity={"verified": False},
    )


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def _devices(device: str) -> list[str]:
    from zoo_export.providers import cuda_obstacle

    if device != "auto":
        return [device]
    return ["cpu", "cuda"] if cuda_obstacle() is None else ["cpu"]


def _with_card(proto: onnx.ModelProto, card: ModelCard) -> onnx.ModelProto:
    import onnx

    proto.producer_name, proto.producer_version = DISTRIBUTION, card.versions[DISTRIBUTION]
    proto.doc_string = f"{card.backbone} with {card.head}: {', '.join(card.classes[:20])}"
    properties: dict[str, Any] = {KEY: card.to_json(), **(_IMAGE_PROPERTIES if card.input == "pixels" else {})}
    onnx.helper.set_model_props(proto, properties)
    return proto
