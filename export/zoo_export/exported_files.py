"""Exported files on the disk: where they are found, where they may be written, and their manifest entries."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import ExportError, IntegrityError, RunError
from zoo.plugins.hubs import fetch_model
from zoo.runs.manifest import MANIFEST, read_manifest, update_manifest
from zoo.runs.open import locate_path
from zoo.runs.run import RUNS, is_run
from zoo.utils.files import LFS_HINT, LFS_POINTER, atomic_write, read_regular_file
from zoo.utils.paths import missing_path_advice
from zoo_export.security.digest import check_digest, read_digests
from zoo_export.security.encryption import SUFFIX as ENCRYPTED
from zoo_export.security.encryption import find_secret, read_decrypted

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo_export.model_card import ModelCard
    from zoo_export.security.digest import FileDigests

FILE = "model.onnx"
ONNX, ARCHIVE = ".onnx", ".pt2"
_MAX_ONNX = 2 << 30  # bytes, as in every protobuf message


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
        reference: A file; or a run's folder, name or tag; or a model on a hub.
        runs: The folder that contains the runs.

    Raises:
        RunError: There is no such run or tag.
        ExportError: There is no such file, or the run was not exported.
    """
    fetched = fetch_model(reference, "file")
    try:
        path = locate_path(reference, runs=runs) if fetched is None else fetched.path
    except RunError as error:
        if Path(reference).suffix not in (ONNX, ARCHIVE, ENCRYPTED):
            raise
        hint = error.hint or "'zoo export RUN' writes one."
        raise ExportError(f"There is no file {reference}.", hint=hint) from None
    if not path.is_dir():
        return path
    if not (path / FILE).is_file():
        raise ExportError(
            f"{path} has no {FILE}.",
            hint=f"'zoo export {path}' writes it." if is_run(path) else "Pass the file, not the folder.",
        )
    return path / FILE


def read_exported(
    path: Path, *, ask: Callable[[str], str] | None = None, check: bool = True
) -> tuple[bytes, FileDigests]:
    """Returns the content of an exported file, and its digests.

    Args:
        path: The file. A file of ``zoo encrypt`` is decrypted into memory.
        ask: Prompts for the passphrase of an encrypted file if no environment variable names its secret.
        check: Whether to compare the file with the digest inside it, and with the manifest of its folder if that lists
            it.

    Raises:
        ExportError: There is no such file, or it cannot be read.
        IntegrityError: It was changed; or it is encrypted, and no key or passphrase opens it.
    """
    if not path.is_file():
        hint = missing_path_advice(path) or "'zoo export RUN' writes one."
        raise ExportError(f"There is no file {path}.", hint=hint)
    try:
        content = read_regular_file(path, max_bytes=_MAX_ONNX if path.suffix == ONNX else None)
    except OSError as error:
        raise ExportError(f"{path} cannot be read: {error.strerror}.") from error
    if content.startswith(LFS_POINTER):
        raise ExportError(f"{path} is a Git LFS pointer, not an exported file.", hint=LFS_HINT)
    digests = read_digests(content)
    if check:
        _check_manifest(path, digests.whole)
    if path.suffix.lower() == ENCRYPTED:
        content = read_decrypted(path, find_secret(path, ask=ask))
        digests = read_digests(content)
    if check:
        check_digest(digests, name=str(path))
    return content, digests


def _check_manifest(path: Path, sha256: str) -> None:
    if not (path.parent / MANIFEST).is_file():
        return
    try:
        entry = read_manifest(path.parent).get(path.name)
    except RunError:  # of another program, or damaged: `zoo verify` says so
        return
    if entry is not None and entry.sha256 != sha256:
        raise IntegrityError(
            f"{path} was changed: its SHA-256 is not that of {MANIFEST} beside it.",
            hint="Copy it again, or export the run again; 'zoo verify' lists everything that differs.",
        )


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
