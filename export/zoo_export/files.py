"""The exported file that a user means, what it says of itself, and its place in the run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import ExportError, RunError
from zoo.runs.manifest import read_manifest, update_manifest
from zoo.runs.open import locate
from zoo.runs.run import RUNS, is_run
from zoo_export.secrecy import SUFFIX

if TYPE_CHECKING:
    from zoo_export.card import ModelCard

FILE = "model.onnx"
ONNX, ARCHIVE = ".onnx", ".pt2"


def find_file(reference: str | Path, *, runs: Path = RUNS) -> Path:
    """Returns the file of a path; of a run, its name or its tag, the run's exported file.

    Raises:
        RunError: There is no such run or tag.
        ExportError: There is no such file, or the run was not exported.
    """
    try:
        path = locate(reference, runs=runs)
    except RunError:
        if Path(reference).suffix not in (ONNX, ARCHIVE, SUFFIX):
            raise
        raise ExportError(f"There is no file {reference}.", hint="'zoo export RUN' writes one.") from None
    if not path.is_dir():
        return path
    if not (path / FILE).is_file():
        raise ExportError(
            f"{path} has no {FILE}.",
            hint=f"'zoo export {path}' writes it." if is_run(path) else "Name the file, not the folder.",
        )
    return path / FILE


def take_in(file: Path) -> None:
    """Enters a file that was just written into the manifest of its folder, if that is a run's or has one of ours."""
    if is_run(file.parent) or has_manifest(file.parent):
        update_manifest(file.parent, [file.name])


def has_manifest(folder: Path) -> bool:
    """Returns whether a folder has a manifest of ours; other programs' files are called ``manifest.json`` too."""
    try:
        read_manifest(folder)
    except RunError:
        return False
    return True


def read_card(path: Path) -> ModelCard:
    """Returns what an exported file says of itself; imports onnx, no torch, and opens no session.

    Raises:
        ExportError: It is no ONNX file, or not one of ``zoo export``.
    """
    from zoo_export.inspection import inspect

    card = inspect(path).card
    if card is None:
        raise ExportError(f"{path} does not tell what it is.", hint="It was not made by 'zoo export'.")
    return card
