"""From a run to one file that takes raw pixels, proven equal to the run before it is written."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo.errors import DataError, ExportError
from zoo.events import Work, ignore
from zoo.inference.evaluate import find_samples
from zoo.plugins.registry import load_registry
from zoo.utils.files import atomic_write
from zoo_export.files import FILE, ONNX, take_in

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    from zoo.events import Observer
    from zoo.plugins.registry import Registry
    from zoo.plugins.specs import Sample
    from zoo.runs.run import Run
    from zoo_export.card import InputKind, ModelCard, PrecisionName

MAX_DROP = 0.5
PHOTOS = 64  # compared by default: seconds for a small network
DEFAULT_OPSET = 18  # read by every ONNX Runtime since 1.14, of 2023


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
    precision: PrecisionName = "fp32",
    opset: int = DEFAULT_OPSET,
    verify: bool = True,
    data: str | None = None,
    photos: int = PHOTOS,
    max_drop: float = MAX_DROP,
    device: str = "auto",
    observer: Observer = ignore,
    registry: Registry | None = None,
) -> Exported:
    """Exports a run to ONNX, compares the file with the run, and writes it.

    Args:
        run: A run with weights.
        target: The file; ``model.onnx`` in the run's folder by default, ``model-int8.onnx`` for int8.
        input: ``"pixels"`` puts the run's preprocessing into the graph; ``"tensor"`` leaves it to the caller.
        precision: What the network computes in. ``"fp16"`` and ``"int8"`` are kept only if they are nearly as accurate
            on the validation part as fp32, and faster on this machine; int8 is calibrated on training photos.
        opset: Of the ONNX operators, 18 to 25.
        verify: Whether to compare the graph, in fp32, with the run; the file tells if not.
        data: What to compare on, a dataset's name, a folder or a CSV; the run's own validation photos by default.
        photos: How many of them, taken evenly.
        max_drop: How many points of validation accuracy a lower precision may cost.
        device: What to compare on: ``"auto"`` is everything there is; ``"cpu"``; ``"cuda"``, or an error.
        observer: Told of progress.
        registry: Of plugins; found in the environment by default.

    Raises:
        ExportError: It cannot be exported, differs from the run, or is not worth its lower precision; nothing is then
            written.
        RunError: The run's files are broken, or the target cannot be written.
    """
    began = time.monotonic()
    registry = registry or load_registry()
    target = checked_target(target or run.path / _file_name(precision), ONNX)
    if verify or precision != "fp32":
        _check_device(device)
    samples = photos_to_compare(run, data, photos, registry, observer) if verify else []
    # Whatever there is to say about the photos was said when they were looked for first.
    own = _own_photos(run, registry, ignore if verify and data is None else observer) if precision != "fp32" else None
    from zoo.inference.run_predictor import rebuild
    from zoo_export.network import Deployed, to_onnx
    from zoo_export.provenance import card_of, with_card

    classifier = rebuild(run, registry).classifier.eval()
    observer(Work(what="write the network as ONNX", done=0, total=None))
    network = to_onnx(Deployed(classifier), size=run.preprocess.size, opset=opset)
    card = card_of(run, classifier, input=input, opset=opset)

    def finish(proto: onnx.ModelProto, its_card: ModelCard) -> bytes:
        return with_card(_finished(proto, run, input), its_card)

    if verify:
        from zoo_export.parity import compare, onnx_subjects, with_report

        subjects = onnx_subjects(finish(network, card), card, _devices(device))
        card = with_report(card, compare(subjects, card, classifier, samples, observer), data)
    if own is not None:
        from zoo_export.lowering import lowered

        network, card = lowered(
            network, card, precision, photos=own, max_drop=max_drop, device=device, finish=finish, observer=observer
        )
    content = finish(network, card)
    with atomic_write(target) as aside:
        aside.write_bytes(content)
    take_in(target)
    return Exported(path=target, card=card, bytes=len(content), seconds=time.monotonic() - began)


def _file_name(precision: PrecisionName) -> str:
    return FILE if precision == "fp32" else f"model-{precision}.onnx"


def checked_target(target: Path, suffix: str) -> Path:
    """Returns where a file goes.

    Raises:
        ExportError: It cannot be written there, or no command would open it, which is told before anything slow begins.
    """
    if target.is_dir():
        raise ExportError(f"{target} is a folder.", hint=f"Name a file: {target / f'model{suffix}'}.")
    if target.suffix != suffix:
        raise ExportError(f"{target} does not end with {suffix}.", hint=f"Name it {target}{suffix}.")
    if not target.parent.is_dir():
        raise ExportError(f"There is no folder {target.parent} to write {target.name} to.", hint="Make it first.")
    if not os.access(target.parent, os.W_OK):
        raise ExportError(f"The folder {target.parent} cannot be written to.", hint="Name another file with -o.")
    return target


def _check_device(device: str) -> None:
    """Opens a small session on a device, so that one that cannot be had is told before anything slow begins."""
    from zoo_export.checks import RELU
    from zoo_export.session import open_session

    open_session(RELU, name="The exported file", device=device)


def photos_to_compare(run: Run, data: str | None, photos: int, registry: Registry, observer: Observer) -> list[Sample]:
    """Returns the photos that a run and its file are compared on; arguments are those of `export`.

    Raises:
        ExportError: There are none.
    """
    # Photos of other data are all unseen, and a folder of class folders has no validation part.
    part = "val" if data is None else "test"
    try:
        found = find_samples(run, part=part, data=data, registry=registry, observer=observer)
    except DataError as error:
        raise ExportError(
            f"There are no photos to compare {run.name} and its file on: {error.message}",
            hint="Name others with --data, or say --no-verify: the file then tells that it was not verified.",
        ) from error
    from zoo_export.photos import evenly

    return evenly(found, photos)


def _own_photos(run: Run, registry: Registry, observer: Observer) -> dict[str, list[Sample]]:
    """Returns the photos that a lower precision is calibrated and judged on.

    Of each part those alone that were in it when the run was made: data that has changed since is split anew, and a
    test photo may then come to stand among those to train on.
    """
    parts = {}
    try:
        for part, tell in (("train", observer), ("val", ignore)):
            known = set(run.split.get(part, ()))
            found = find_samples(run, part=part, data=None, registry=registry, observer=tell)
            parts[part] = [sample for sample in found if sample.name in known]
            if not parts[part]:
                raise DataError(f"None of its {part} photos is in the {part} part of its data now.")
        return parts
    except DataError as error:
        raise ExportError(
            f"A lower precision cannot be judged without the photos of {run.name}: {error.message}",
            hint="Export it in fp32.",
        ) from error


def _finished(network: onnx.ModelProto, run: Run, input: InputKind) -> onnx.ModelProto:
    """Returns a copy of a network that takes what was asked for."""
    import onnx

    from zoo_export.preprocessing import put_before

    proto = onnx.ModelProto()
    proto.CopyFrom(network)
    if input == "pixels":
        put_before(proto.graph, run.preprocess)
    return proto


def _devices(device: str) -> list[str]:
    from zoo_export.providers import cuda_obstacle

    if device != "auto":
        return [device]
    return ["cpu", "cuda"] if cuda_obstacle() is None else ["cpu"]
