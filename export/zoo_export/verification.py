"""Tells whether runs and files are what they were: by manifest, tag, signature, and the weights they were made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.errors import ExportError, IntegrityError, RunError
from zoo.runs.manifest import MANIFEST, check_folder, file_hash, read_manifest
from zoo.runs.open import locate, open_run
from zoo.runs.run import RUNS, WEIGHTS, is_run
from zoo.runs.tag_history import is_folder_name, is_tag
from zoo.runs.tags import find_tag
from zoo_export.files import ARCHIVE, ONNX, has_manifest, read_card

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from zoo.runs.tag_history import Tag


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was compared.

    Attributes:
        about: ``"manifest"``, ``"tag"``, ``"weights"``, ``"signature"``.
        ok: Whether nothing was found.
        text: What was found.
        files: Each file that is not what it was, and what is wrong with it: ``("model.onnx", "changed")``.
    """

    about: str
    ok: bool
    text: str
    files: tuple[tuple[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        files = [{"file": file, "state": state} for file, state in self.files]
        return {"about": self.about, "ok": self.ok, "text": self.text, "files": files}


def verify(reference: str | Path, *, runs: Path = RUNS, key: Path | None = None) -> list[Check]:
    """Compares a run folder or a file with all that is known of it.

    A folder is compared with its manifest, its exported files with its weights; a file with the manifest of its folder,
    and an exported one with the weights of its run, where that is at hand. Reads in pieces; imports no torch.

    Args:
        reference: A folder, a file, a run's name or a tag.
        runs: Where names and tags are looked for, and the runs that exported files name.
        key: Public key; then there must be a signature too.

    Returns:
        At least one check; all of them are made, whatever the first finds.

    Raises:
        RunError: There is no such run or file, or the manifest cannot be read.
        ExportError: An exported file cannot be read.
        IntegrityError: There is nothing to compare a file with, or the signature is missing, broken or by another key.
    """
    path = locate(reference, runs=runs)
    checks = list(_check_folder(path) if path.is_dir() else _check_file(path, runs))
    if is_tag(str(reference)) and path.name != str(reference):
        checks.append(_check_tag(find_tag(str(reference), runs=runs), path))
    if key is not None:
        checks.append(_check_signed(path, key))
    if not checks:
        raise IntegrityError(
            f"There is nothing to compare {path} with: no {MANIFEST} lists it, and its run is not at hand.",
            hint="If it was signed, name the public key with --key.",
        )
    return checks


def _check_folder(folder: Path) -> Iterator[Check]:
    if is_run(folder) or (folder / MANIFEST).exists():
        files = [(finding.file, finding.state) for finding in check_folder(folder)]
        yield _check("manifest", files, good=f"all {len(read_manifest(folder))} files are as they were")
    for file in sorted(path for path in folder.iterdir() if path.suffix in (ONNX, ARCHIVE)):
        if (folder / WEIGHTS).is_file():
            yield _check_weights(file, folder / WEIGHTS)


def _check_file(file: Path, runs: Path) -> Iterator[Check]:
    ours = (file.parent / MANIFEST).is_file() if is_run(file.parent) else has_manifest(file.parent)
    if ours and (entry := read_manifest(file.parent).get(file.name)):
        files = [] if file_hash(file) == entry.sha256 else [(file.name, "changed")]
        yield _check("manifest", files, good=f"{file.name} is as it was")
    if file.suffix in (ONNX, ARCHIVE) and (weights := _weights_of(file, runs)):
        yield _check_weights(file, weights)


def _weights_of(file: Path, runs: Path) -> Path | None:
    """Returns the weights beside an exported file, or those of the run that it names."""
    if is_run(file.parent):
        return file.parent / WEIGHTS
    named = read_card(file).run
    name = str(named.get("name"))
    if not is_folder_name(name) or not is_run(runs / name):
        return None  # the file was carried elsewhere
    run = open_run(runs / name)
    return run.weights_path if run.record.get("created") == named.get("created") else None


def _check_weights(file: Path, weights: Path) -> Check:
    try:
        same = file_hash(weights) == read_card(file).weights_sha256
    except (ExportError, RunError) as error:
        return Check(about="weights", ok=False, text=error.message.rstrip("."))
    told = "was made of" if same else "was not made of"
    return Check(about="weights", ok=same, text=f"{file.name} {told} {weights}")


def _check_tag(tag: Tag, folder: Path) -> Check:
    same = file_hash(folder / WEIGHTS) == tag.weights
    told = f"{tag.name} was given to these weights" if same else f"{WEIGHTS} is not what {tag.name} was given to"
    return Check(about="tag", ok=same, text=told)


def _check_signed(path: Path, key: Path) -> Check:
    from zoo_export.signing import check_signature, signature_of

    files = check_signature(path, key=key)
    return _check("signature", files, good=f"{signature_of(path).name} is by {key.name}, and nothing has changed since")


def _check(about: str, files: Sequence[tuple[str, str]], *, good: str) -> Check:
    count = "1 file is not as it was" if len(files) == 1 else f"{len(files)} files are not as they were"
    return Check(about=about, ok=not files, text=count if files else good, files=tuple(files))
