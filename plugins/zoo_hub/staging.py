"""Prepares the folder that is published: the run, the files for other libraries, the model card and a manifest."""

from __future__ import annotations

import importlib.metadata
import shutil
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from zoo.errors import ExportError, RunError
from zoo.events import Note, Observer, ignore
from zoo.inference.export import export_run
from zoo.plugins.distributions import require_torch
from zoo.plugins.entry_points import RUNTIME
from zoo.runs.familiarity import PROTOTYPES
from zoo.runs.manifest import hash_file, write_manifest
from zoo.runs.open import find_weights_info
from zoo.runs.record import PHOTOS, write_record
from zoo.runs.run import METRICS, WEIGHTS
from zoo_export.inspection import read_card
from zoo_hub.card import CardInput, write_card
from zoo_hub.fetch import ONNX, RUN, SHARED_PICTURES
from zoo_hub.public_record import find_dataset, make_public

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from zoo.inference.run import Run
    from zoo.plugins.registry import Registry

README = "README.md"
_TIMM = "timm"  # a folder that is emptied into the one that is published


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """How a run is published.

    Attributes:
        repository: ``"anna/hotdog"``.
        licence: The licence of the model, as an identifier of the Hub; empty if its owner states none.
        onnx: Whether to publish an ONNX file.
        data: Photos to compare an ONNX file with the run on; by default the run's validation photos.
    """

    repository: str
    licence: str = ""
    onnx: bool = True
    data: str | None = None


def check_publishable(run: Run) -> None:
    """Checks a run before any slow work.

    Raises:
        RunError: The run is not finished, or is the copy of one on a hub.
        MissingPackageError: torch is not installed.
    """
    run.refuse_copy("Only runs of this machine can be pushed.")
    if not run.finished or not run.weights_path.is_file():
        raise RunError(
            f"The run {run.path} is not finished, so its weights may still change.",
            hint=f"'zoo finetune --resume {run.name}' resumes it.",
        )
    require_torch("Publishing a run")


def stage(run: Run, folder: Path, publication: Publication, registry: Registry, observer: Observer = ignore) -> None:
    """Fills an empty folder with what is published of a run.

    ``zoo/``               the run: its public record, weights, metrics and pictures
    ``model.onnx``         the exported file of the run, or a new one
    ``config.json``, ``model.safetensors``  what timm loads, if timm has the network
    ``README.md``          the model card
    ``manifest.json``      size and SHA-256 of all files

    Args:
        run: A finished run.
        folder: An empty folder.
        publication: How it is published.
        registry: The plugins.
        observer: Receives progress and notes.

    Raises:
        ExportError: The run cannot be exported, or its exported file is of other weights.
        RunError: A file of the run cannot be read.
    """
    _stage_run(run, folder / RUN, registry)
    export = partial(export_run, run, data=publication.data, observer=observer, registry=registry, record=False)
    if publication.onnx:
        _stage_onnx(run, folder / ONNX, export)
    has_timm = _stage_timm(folder, export, observer)
    record, dataset = make_public(run, registry), find_dataset(run, registry)
    card = CardInput(
        repository=publication.repository,
        record=record,
        licence=publication.licence,
        data_licence="" if dataset is None else dataset.spec.licence,
        weights=find_weights_info(record, registry),
        timm=has_timm,
        onnx=publication.onnx,
        pictures=tuple(name for name in SHARED_PICTURES if (folder / RUN / name).is_file()),
        version=importlib.metadata.version(RUNTIME),
    )
    (folder / README).write_text(write_card(card), encoding="utf-8")
    write_manifest(folder)


def _stage_run(run: Run, folder: Path, registry: Registry) -> None:
    folder.mkdir()
    write_record(folder, make_public(run, registry))
    names = [WEIGHTS, METRICS, PROTOTYPES, *SHARED_PICTURES]
    if find_dataset(run, registry) is not None:  # its names of photos are known to everyone who has the plugin
        names.append(PHOTOS)
    for name in names:
        if (run.path / name).is_file():
            shutil.copyfile(run.path / name, folder / name)
    write_manifest(folder)


def _stage_onnx(run: Run, target: Path, export: Callable[..., object]) -> None:
    existing = run.path / ONNX
    if not existing.is_file():
        try:
            export("onnx", output=target)
        except ExportError as error:
            error.hint = f"{error.hint}\nOr leave the ONNX file out with --no-onnx.".strip()
            raise
        return
    card = read_card(existing)
    if card.weights_sha256 != hash_file(run.weights_path):
        raise ExportError(
            f"{existing} was exported from other weights than those of the run.",
            hint=f"Export the run again: 'zoo export {run.name}'.",
        )
    shutil.copyfile(existing, target)


def _stage_timm(folder: Path, export: Callable[..., object], observer: Observer) -> bool:
    """Adds the files that timm loads if it has the network; returns whether it has."""
    try:
        export("timm", output=folder / _TIMM)
    except ExportError as error:
        observer(Note(text=f"Without files for timm: {error.message}"))
        shutil.rmtree(folder / _TIMM, ignore_errors=True)
        return False
    for file in (folder / _TIMM).iterdir():
        file.rename(folder / file.name)
    (folder / _TIMM).rmdir()
    return True
