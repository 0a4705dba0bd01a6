"""Exported files on the disk: where they are found, where they may be written, and their manifest entries."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import ExportError, RunError
from zoo.runs.manifest import read_manifest, update_manifest
from zoo.runs.open import locate_path
from zoo.runs.run import RUNS, is_run
from zoo.utils.files import atomic_write
from zoo_export.security.encryption import SUFFIX as ENCRYPTED

if TYPE_CHECKING:
    from zoo_export.model_card import ModelCard

FILE = "model.onnx"
ONNX, ARCHIVE = ".onnx", ".pt2"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedFile:
    """A file that an export wrote.

    Attributes:
        path: Where it was written.
        card: Its card.
        bytes: Its size.
        seconds: Duration of the export, comparison included.
    """

    path: Path
    card: ModelCard
    bytes: int
    seconds: float


def find_file(reference: str | Path, *, runs: Path = RUNS) -> Path:
    """Returns the file at a path, or the exported file of a run.

    Args:
        reference: A file; or a run's folder, name or tag.
        runs: The folder that contains the runs.

    Raises:
        RunError: There is no such run or tag.
        ExportError: There is no such file, or the run was not exported.
    """
    try:
        path = locate_path(reference, runs=runs)
    except RunError:
        if Path(reference).suffix not in (ONNX, ARCHIVE, ENCRYPTED):
            raise
        raise ExportError(f"There is no file {reference}.", hint="'zoo export RUN' writes one.") from None
    if not path.is_dir():
        return path
    if not (path / FILE).is_file():
        raise ExportError(
            f"{path} has no {FILE}.",
            hint=f"'zoo export {path}' writes it." if is_run(path) else "Pass the file, not the folder.",
        )
    return path / FILE


def check_target(target: Path, suffix: str) -> Path:
    """Returns the path to write to.

    Raises:
        ExportError: The path is not writable, or has a suffix that no command opens.
    """
    if target.is_dir():
        raise ExportError(f"{target} is a folder.", hint=f"Pass a file: {target / f'model{suffix}'}.")
    if target.suffix != suffix:
        raise ExportError(f"{target} does not end with {suffix}.", hint=f"Name it {target}{suffix}.")
    if not target.parent.is_dir():
        raise ExportError(f"There is no folder {target.parent} for {target.name}.", hint="Create it first.")
    if not os.access(target.parent, os.W_OK):
        raise ExportError(f"The folder {target.parent} is not writable.", hint="Pass another file with -o.")
    return target


def write_exported(target: Path, content: bytes, card: ModelCard, *, started: float) -> ExportedFile:
    """Writes an exported file and its manifest entry; `started` is a value of `time.monotonic`.

    Raises:
        RunError: The file or the manifest cannot be written.
    """
    with atomic_write(target) as temporary:
        temporary.write_bytes(content)
    add_to_manifest(target)
    return ExportedFile(path=target, card=card, bytes=len(content), seconds=time.monotonic() - started)


def add_to_manifest(file: Path) -> None:
    """Adds a new file to the manifest of its folder, if the folder is a run or already has such a manifest."""
    if is_run(file.parent) or has_manifest(file.parent):
        update_manifest(file.parent, [file.name])


def has_manifest(folder: Path) -> bool:
    """Returns whether a folder has a manifest of the zoo; other programs name files ``manifest.json``, too."""
    try:
        read_manifest(folder)
    except RunError:
        return False
    return True
