"""Exports a run to one ONNX file that takes raw pixels, and compares the file with the run before writing it."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from zoo.events import Work, ignore
from zoo.plugins.distributions import require_torch
from zoo.plugins.specs.export_targets import PHOTOS
from zoo_export.exported_files import FILE, ONNX, check_target, write_exported
from zoo_export.security.digest import with_digest
from zoo_export.targets.options import DEFAULT_OPSET, MAX_DROP
from zoo_export.validation.reference import open_reference

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    from zoo.events import Observer
    from zoo.models.familiarity import Familiarity
    from zoo.plugins.registry import Registry
    from zoo.runs.run import RunFolder
    from zoo_export.exported_files import ExportedFile
    from zoo_export.model_card import InputKind, ModelCard, PrecisionName
    from zoo_export.validation.reference import Reference

# For tools that do not know the card: https://github.com/onnx/onnx/blob/main/docs/MetadataProps.md
_IMAGE_PROPERTIES = {
    "Image.BitmapPixelFormat": "Rgb8",
    "Image.ColorSpaceGamma": "SRGB",
    "Image.NominalPixelRange": "NominalRange_0_255",
}


def export_onnx(
    run: RunFolder,
    target: Path | None = None,
    *,
    input: InputKind = "pixels",
    precision: PrecisionName = "fp32",
    opset: int = DEFAULT_OPSET,
    verify: bool = True,
    data: str | None = None,
    photos: int = PHOTOS,
    max_drop: float = MAX_DROP,
    device: str = "auto",
    observer: Observer = ignore,
    registry: Registry | None = None,
) -> ExportedFile:
    """Exports a run to ONNX, compares the file with the run, and writes it.

    Args:
        run: A run with weights.
        target: The file to write; by default ``model.onnx`` in the run folder, or ``model-int8.onnx`` for int8.
        input: ``"pixels"`` adds the run's preprocessing to the graph; ``"tensor"`` leaves it to the caller.
        precision: What the network computes in. ``"fp16"`` and ``"int8"`` are written only if they are nearly as
            accurate as fp32 on the validation photos, and faster on this machine; training photos calibrate int8.
        opset: Version of the ONNX operators, 18 to 25.
        verify: Whether to compare the graph, in fp32, with the run; the file records it.
        data: Photos to compare on: a dataset's name, a folder or a CSV file; by default the run's validation photos.
        photos: How many of them to compare, evenly spaced.
        max_drop: Percentage points of validation accuracy that a reduced precision may lose.
        device: Where to compare: ``"auto"`` means every device that works; ``"cpu"``; ``"cuda"``, or an error.
        observer: Receives progress.
        registry: The plugins to use; by default those of the environment.

    Raises:
        MissingPackageError: torch is not installed.
        ExportError: The run cannot be exported, the file differs from the run, or the reduced precision does not pay
            off; nothing is written.
        RunError: The files of the run are damaged, or the target is not writable.
    """
    started = time.monotonic()
    require_torch("The export of a run")
    reduced = precision != "fp32"
    target = check_target(target or run.path / (f"model-{precision}.onnx" if reduced else FILE), ONNX)
    if verify or reduced:
        _check_device(device)
    reference = open_reference(
        run, verify=verify, data=data, photos=photos, observer=observer, registry=registry, reduced=reduced
    )
    network, card = _convert(reference, input=input, opset=opset)
    if verify:
        card = _compare(reference, network, card, device)
    if reduced:
        network, card = _reduce(reference, network, card, precision, max_drop=max_drop, device=device)
        if verify:
            card = _compare(reference, network, card, device)  # a report of its own
    return write_exported(target, _serialise(network, card, reference.familiarity), card, started=started)


def _convert(reference: Reference, *, input: InputKind, opset: int) -> tuple[onnx.ModelProto, ModelCard]:
    """Returns the network without its preprocessing, and its card."""
    from zoo_export.graph.classifier import ExportableClassifier, to_onnx

    reference.observer(Work(what="convert the network to ONNX", done=0, total=None))
    size, familiarity = reference.preprocess.size, reference.familiarity
    module = ExportableClassifier(reference.classifier, size, extra=None if familiarity is None else familiarity.vector)
    network = to_onnx(module, size=size, opset=opset)
    return network, reference.describe(input=input, opset=opset, has_digest=True)


def _reduce(
    reference: Reference,
    network: onnx.ModelProto,
    card: ModelCard,
    precision: PrecisionName,
    *,
    max_drop: float,
    device: str,
) -> tuple[onnx.ModelProto, ModelCard]:
    """Returns the network in fp16 or int8, and its card, if that pays off."""
    from zoo_export.validation.precision_gate import reduce_precision

    return reduce_precision(
        network,
        card,
        precision,
        samples=reference.samples,
        max_drop=max_drop,
        device=device,
        finish=partial(_serialise, familiarity=reference.familiarity),
        observer=reference.observer,
    )


def _compare(reference: Reference, network: onnx.ModelProto, card: ModelCard, device: str) -> ModelCard:
    """Compares the content of the file with the run; returns the card with the report."""
    from zoo_export.validation.parity import onnx_backends

    content = _serialise(network, card, reference.familiarity)
    return reference.compare_backends(onnx_backends(content, card, _devices(device)), card)


def _check_device(device: str) -> None:
    """Opens a small session on a device: fails before any slow work if the device does not work."""
    from zoo_export.checks import RELU
    from zoo_export.runtime.session import open_session

    open_session(RELU, name="The exported file", device=device)


def _devices(device: str) -> list[str]:
    from zoo_export.runtime.providers import cuda_obstacle

    if device != "auto":
        return [device]
    return ["cpu", "cuda"] if cuda_obstacle() is None else ["cpu"]


def _serialise(network: onnx.ModelProto, card: ModelCard, familiarity: Familiarity | None) -> bytes:
    """Returns the content of the file: the network, the familiarity, what the card says of more operators, the card."""
    import onnx

    from zoo.plugins.entry_points import DISTRIBUTION
    from zoo_export.graph.decisions import append_cost_decision, append_decisions
    from zoo_export.graph.familiarity import append_familiarity
    from zoo_export.graph.preprocessing import prepend_preprocessing
    from zoo_export.model_card import KEY

    proto = onnx.ModelProto()
    proto.CopyFrom(network)
    properties: dict[str, Any] = {KEY: card.to_json()}
    if familiarity is not None:
        append_familiarity(proto.graph, familiarity.prototypes.numpy(), neighbours=familiarity.neighbours)
    if card.multi_label:
        append_decisions(proto.graph, card.thresholds)
    elif card.decision is not None:
        append_cost_decision(proto.graph, card.decision, card.classes)
    if card.input == "pixels":
        prepend_preprocessing(proto.graph, card.preprocess)
        properties |= _IMAGE_PROPERTIES
    proto.producer_name, proto.producer_version = DISTRIBUTION, card.versions[DISTRIBUTION]
    proto.doc_string = f"{card.backbone} with {card.head}: {', '.join(card.classes[:20])}"
    onnx.helper.set_model_props(proto, properties)
    return with_digest(proto.SerializeToString())
