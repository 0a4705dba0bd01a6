"""Verifies runs and files: against a manifest, a tag, a signature, and the weights that a file was exported from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.errors import ExportError, IntegrityError, RunError
from zoo.runs.manifest import MANIFEST, check_folder, hash_file, read_manifest
from zoo.runs.open import locate_path
from zoo.runs.run import RUNS, WEIGHTS, is_run, list_runs
from zoo.runs.tag_history import is_tag
from zoo.runs.tags import find_tag, open_tagged
from zoo.utils.files import read_regular_file
from zoo_export.exported_files import ARCHIVE, ONNX, has_manifest
from zoo_export.inspection import read_card
from zoo_export.security.digest import read_digests

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from zoo.runs.tag_history import Tag


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationResult:
    """The result of one comparison.

    Attributes:
        about: ``"manifest"``, ``"tag"``, ``"digest"``, ``"weights"``, ``"signature"``.
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

    A folder is compared with its manifest, and its exported files with the digests inside them and with its weights. A
    file is compared with the manifest of its folder. An exported file is also compared with the digest inside it and,
    if its run is available, with the manifest and the weights of the run. Imports no torch.

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
    path = _locate(reference, runs=runs)
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


def _locate(reference: str | Path, *, runs: Path) -> Path:
    try:
        return locate_path(reference, runs=runs)
    except IntegrityError:  # a tag's run was changed, as the comparisons will show in full
        return open_tagged(str(reference), runs=runs, check=False).path


def _verify_folder(folder: Path) -> Iterator[VerificationResult]:
    if is_run(folder) or (folder / MANIFEST).exists():
        files = [(finding.file, finding.state) for finding in check_folder(folder)]
        yield _summarise("manifest", files, good=f"all {len(read_manifest(folder))} files are unchanged")
    for file in sorted(path for path in folder.iterdir() if path.suffix in (ONNX, ARCHIVE)):
        yield from _verify_digest(file)
        if (folder / WEIGHTS).is_file():
            yield _verify_weights(file, folder / WEIGHTS)


def _verify_file(file: Path, runs: Path) -> Iterator[VerificationResult]:
    listed = (file.parent / MANIFEST).is_file() if is_run(file.parent) else has_manifest(file.parent)
    if listed and (entry := read_manifest(file.parent).get(file.name)):
        files = [] if hash_file(file) == entry.sha256 else [(file.name, "changed")]
        yield _summarise("manifest", files, good=f"{file.name} is unchanged")
    if file.suffix not in (ONNX, ARCHIVE):
        return
    yield from _verify_digest(file)
    if is_run(file.parent):
        yield _verify_weights(file, file.parent / WEIGHTS)
    elif run := _find_run(file, runs):
        if (run / MANIFEST).is_file():
            yield from _verify_copy(file, run)
        yield _verify_weights(file, run / WEIGHTS)


def _find_run(file: Path, runs: Path) -> Path | None:
    """Returns the folder of the run that an exported file names, if it is available; it may have been renamed since."""
    card = read_card(file, check=False)
    same_time = [run for run in list_runs(runs) if run.record.created == card.run.get("created")]
    for run in same_time:
        if run.name == card.run.get("name"):
            return run.path
    return next((run.path for run in same_time if _has_weights(run.path, card.weights_sha256)), None)


def _has_weights(run: Path, digest: str) -> bool:
    try:
        return hash_file(run / WEIGHTS) == digest
    except RunError:  # an unfinished run has none
        return False


def _verify_digest(file: Path) -> Iterator[VerificationResult]:
    """Compares an exported file with the digest inside it; yields nothing for a file that has none."""
    try:
        digests = read_digests(read_regular_file(file, max_bytes=None))
        has_digest = read_card(file, check=False).has_digest
    except (ExportError, OSError):
        return  # the comparison of the weights says so
    if has_digest or digests.recorded is not None:
        same = digests.agree(expected=has_digest)
        text = "is what 'zoo export' wrote" if same else "is not what 'zoo export' wrote"
        yield VerificationResult(about="digest", ok=same, text=f"{file.name} {text}")


def _verify_copy(file: Path, run: Path) -> Iterator[VerificationResult]:
    """Compares a copy of an exported file with the manifest of its run.

    Nothing in the manifest means nothing for a file that contains its digest: it may have been exported to where it is,
    or the run may have been exported again since.
    """
    digest, entries = hash_file(file), read_manifest(run)
    original = next((name for name, entry in entries.items() if entry.sha256 == digest), None)
    if original is not None:
        yield VerificationResult(about="manifest", ok=True, text=f"{file.name} is a copy of {run / original}")
    elif file.name in entries and not read_card(file, check=False).has_digest:
        yield _summarise("manifest", [(file.name, "changed")], good="")


def _verify_weights(file: Path, weights: Path) -> VerificationResult:
    try:
        same = hash_file(weights) == read_card(file, check=False).weights_sha256
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
