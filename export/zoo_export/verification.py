"""Verifies runs and files: against a manifest, a tag, a signature, and the weights that a file was exported from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.errors import ExportError, IntegrityError, RunError
from zoo.runs.manifest import MANIFEST, check_folder, hash_file, read_manifest
from zoo.runs.open import locate_path, open_run
from zoo.runs.run import RUNS, WEIGHTS, is_run
from zoo.runs.tag_history import is_folder_name, is_tag
from zoo.runs.tags import find_tag
from zoo_export.exported_files import ARCHIVE, ONNX, has_manifest
from zoo_export.inspection import read_card

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from zoo.runs.tag_history import Tag


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationResult:
    """The result of one comparison.

    Attributes:
        about: ``"manifest"``, ``"tag"``, ``"weights"``, ``"signature"``.
        ok: Whether everything is unchanged.
        text: The result, in words.
        files: Every file that differs, and how: ``("model.onnx", "changed")``.
    """

    about: str
    ok: bool
    text: str
    files: tuple[tuple[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        files = [{"file": file, "state": state} for file, state in self.files]
        return {"about": self.about, "ok": self.ok, "text": self.text, "files": files}


def verify(reference: str | Path, *, runs: Path = RUNS, key: Path | None = None) -> list[VerificationResult]:
    """Compares a run folder or a file with everything that is known about it.

    A folder is compared with its manifest, and its exported files with its weights. A file is compared with the
    manifest of its folder, and an exported file also with the weights of its run, if the run is available. Streams the
    files; imports no torch.

    Args:
        reference: A folder, a file, a run's name or a tag.
        runs: The folder that contains the runs: those of names and tags, and those that exported files name.
        key: A public key; the signature is verified, too, and must exist.

    Returns:
        At least one result. A failed comparison does not stop the others.

    Raises:
        RunError: There is no such run or file, or the manifest cannot be read.
        ExportError: An exported file cannot be read.
        IntegrityError: There is nothing to compare a file with, or the signature is missing, damaged or by another key.
    """
    path = locate_path(reference, runs=runs)
    results = list(_verify_folder(path) if path.is_dir() else _verify_file(path, runs))
    if is_tag(str(reference)) and path.name != str(reference):
        results.append(_verify_tag(find_tag(str(reference), runs=runs), path))
    if key is not None:
        results.append(_verify_signature(path, key))
    if not results:
        raise IntegrityError(
            f"There is nothing to compare {path} with: no {MANIFEST} lists it, and its run is not available.",
            hint="If it is signed, pass the public key with --key.",
        )
    return results


def _verify_folder(folder: Path) -> Iterator[VerificationResult]:
    if is_run(folder) or (folder / MANIFEST).exists():
        files = [(finding.file, finding.state) for finding in check_folder(folder)]
        yield _summarise("manifest", files, good=f"all {len(read_manifest(folder))} files are unchanged")
    for file in sorted(path for path in folder.iterdir() if path.suffix in (ONNX, ARCHIVE)):
        if (folder / WEIGHTS).is_file():
            yield _verify_weights(file, folder / WEIGHTS)


def _verify_file(file: Path, runs: Path) -> Iterator[VerificationResult]:
    listed = (file.parent / MANIFEST).is_file() if is_run(file.parent) else has_manifest(file.parent)
    if listed and (entry := read_manifest(file.parent).get(file.name)):
        files = [] if hash_file(file) == entry.sha256 else [(file.name, "changed")]
        yield _summarise("manifest", files, good=f"{file.name} is unchanged")
    if file.suffix in (ONNX, ARCHIVE) and (weights := _find_weights(file, runs)):
        yield _verify_weights(file, weights)


def _find_weights(file: Path, runs: Path) -> Path | None:
    """Returns the weights beside an exported file, or those of the run that it names."""
    if is_run(file.parent):
        return file.parent / WEIGHTS
    origin = read_card(file).run
    name = str(origin.get("name"))
    if not is_folder_name(name) or not is_run(runs / name):
        return None  # the run is not here
    run = open_run(runs / name)
    return run.weights_path if run.record.created == origin.get("created") else None


def _verify_weights(file: Path, weights: Path) -> VerificationResult:
    try:
        same = hash_file(weights) == read_card(file).weights_sha256
    except (ExportError, RunError) as error:
        return VerificationResult(about="weights", ok=False, text=error.message.rstrip("."))
    verb = "was exported from" if same else "was not exported from"
    return VerificationResult(about="weights", ok=same, text=f"{file.name} {verb} {weights}")


def _verify_tag(tag: Tag, folder: Path) -> VerificationResult:
    same = hash_file(folder / WEIGHTS) == tag.weights
    text = f"{WEIGHTS} is what was tagged {tag.name}" if same else f"{WEIGHTS} is not what was tagged {tag.name}"
    return VerificationResult(about="tag", ok=same, text=text)


def _verify_signature(path: Path, key: Path) -> VerificationResult:
    from zoo_export.security.signing import check_signature, signature_path

    files = check_signature(path, key=key)
    good = f"{signature_path(path).name} was made with {key.name}, and nothing has changed since"
    return _summarise("signature", files, good=good)


def _summarise(about: str, files: Sequence[tuple[str, str]], *, good: str) -> VerificationResult:
    bad = "1 file differs" if len(files) == 1 else f"{len(files)} files differ"
    return VerificationResult(about=about, ok=not files, text=bad if files else good, files=tuple(files))
