"""Deletes and renames runs, and keeps what refers to them right."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from zoo.errors import RunError
from zoo.runs.cross_validation import CrossValidationFolder
from zoo.runs.lock import LOCK, is_locked, locked_folder
from zoo.runs.record import RECORD, format_record, read_record
from zoo.runs.run import CHECKPOINT, RunFolder, list_runs
from zoo.runs.tag_history import TAGS, format_history, is_folder_name, is_tag, locked, read_history
from zoo.runs.tags import tags_by_run
from zoo.utils.files import atomic_write, parse_json, read_regular_file

if TYPE_CHECKING:
    from collections.abc import Mapping

Managed = TypeVar("Managed", bound=RunFolder | CrossValidationFolder)
DELETED = ".deleted"  # in the folder of the runs: what a deletion has moved there, but not removed yet
_COMPARISONS = "comparison*.json"  # written by `zoo.training.compare`


def check_deletion(run: RunFolder | CrossValidationFolder) -> None:
    """Checks that a run, or a cross-validation with its runs, may be deleted.

    Raises:
        RunError: A tag points to the run, a process trains it, or its folder is a link.
    """
    folder = _folder_of(run)
    if tags := tags_by_run(folder.parent).get(folder.name):
        raise RunError(
            f"The run {run.name} is tagged {', '.join(tags)}.",
            hint=f"Remove the tag first, 'zoo runs untag {tags[0]}', or keep the run.",
        )
    _refuse_if_training(run)


def delete_run(run: RunFolder | CrossValidationFolder) -> None:
    """Deletes the folder of a run or of a cross-validation, with everything in it.

    The folder is first moved out of sight, in one step, so that a process that is killed leaves either the whole run or
    none. The next deletion removes what such a process has left.

    Raises:
        RunError: As in `check_deletion`; or the folder cannot be moved or removed.
    """
    folder = _folder_of(run)
    with locked(folder.parent):
        check_deletion(run)
        waste = folder.parent / DELETED
        try:
            waste.mkdir(exist_ok=True)
            _move(folder, waste / secrets.token_hex(8))
        except OSError as error:
            raise RunError(
                f"{run.path} cannot be deleted: {error.strerror or error}.", hint="May you write to its folder?"
            ) from error
        try:
            shutil.rmtree(waste)
        except OSError as error:
            raise RunError(
                f"{run.path} is deleted, but some of its files remain in {waste}: {error.strerror or error}.",
                hint="Delete that folder.",
            ) from error


def rename_run(run: Managed, name: str) -> Managed:
    """Renames the folder of a run or of a cross-validation, and returns it under its new name.

    Tags, their history, the tables of comparisons beside the run, and unfinished runs that still have to load its
    weights refer to the new name afterwards. They are written first: a process that is killed in between has renamed
    nothing, and the same call completes its work. The records of finished runs are sealed and keep the old name.

    Args:
        run: The run or the cross-validation.
        name: The new name of its folder.

    Raises:
        RunError: The name is invalid or taken; a process trains the run, or another one from its weights; or a file
            cannot be written.
    """
    folder = _folder_of(run)
    _check_name(name)
    target = folder.with_name(name)
    with locked(folder.parent):
        if os.path.lexists(target):
            raise RunError(f"{target} exists.", hint="Choose another name.")
        _refuse_if_training(run)
        edits = {**_edit_tags(run, name), **_edit_records(folder, name), **_edit_comparisons(folder, name)}
        _apply(edits, folder, target)
    path = run.path.with_name(name) if run.path.name == folder.name else target
    return replace(run, path=path)


def _folder_of(run: RunFolder | CrossValidationFolder) -> Path:
    if run.path.is_symlink():
        raise RunError(f"{run.path} is a link.", hint=f"Pass the folder itself: {run.path.resolve()}")
    return run.path.resolve()


def _refuse_if_training(run: RunFolder | CrossValidationFolder) -> None:
    inner = run.runs() if isinstance(run, CrossValidationFolder) else []
    for path in (run.path, *(each.path for each in inner)):
        if is_locked(path):
            raise RunError(f"A process is training {path}.", hint="Wait for it, or end it.")


def _check_name(name: str) -> None:
    if not name or not is_folder_name(name) or name[0] in ".-" or name != name.strip() or is_tag(name):
        raise RunError(
            f"{name!r} is not a valid name for a run.",
            hint="It is the name of a folder: without slashes and colons, without '.' or '-' in front, and not of the "
            "form of a tag, hotdog@3.",
        )


def _move(folder: Path, target: Path) -> None:
    """Renames a run folder that no process trains; its lock is not moved along."""
    with locked_folder(folder):
        if os.name == "posix":
            folder.rename(target)
            (target / LOCK).unlink(missing_ok=True)
            return
    folder.rename(target)  # Windows renames no folder with a file that is open


def _apply(edits: Mapping[Path, str], folder: Path, target: Path) -> None:
    """Writes files and moves a folder, or nothing of it if something fails."""
    originals = {path: path.read_text("utf-8") for path in edits}
    try:
        for path, text in edits.items():
            _write(path, text)
        _move(folder, target)
    except BaseException as error:
        for path, text in originals.items():
            _write(path, text)
        if isinstance(error, OSError):
            raise RunError(f"{folder} cannot be renamed: {error.strerror or error}.") from error
        raise


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _edit_tags(run: RunFolder | CrossValidationFolder, name: str) -> dict[Path, str]:
    runs = run.path.resolve().parent
    history = read_history(runs)
    ours = [tag.run == run.name and tag.created == run.record.created for tag in history]
    if not any(ours):
        return {}
    edited = [replace(tag, run=name) if own else tag for tag, own in zip(history, ours, strict=True)]
    return {runs / TAGS: format_history(edited)}


def _edit_records(folder: Path, name: str) -> dict[Path, str]:
    """Returns the new records of unfinished runs that start, or start again, from the weights of a run."""
    edits = {}
    for other in list_runs(folder.parent):
        weights = str(other.record.config.get("weights", ""))
        if other.finished or (other.path / CHECKPOINT).exists() or (inner := _find_inside(weights, folder)) is None:
            continue
        if is_locked(other.path):
            raise RunError(
                f"A process is training {other.path} from the weights of {folder.name}.",
                hint="Rename the run once the training is saved.",
            )
        by_name = Path(weights) == folder.name / inner
        new = str(name / inner if by_name else folder.with_name(name) / inner)
        record = read_record(other.path)
        edits[other.path / RECORD] = format_record(replace(record, config={**record.config, "weights": new}))
    return edits


def _find_inside(weights: str, folder: Path) -> Path | None:
    """Returns where the weights of a run are in a folder: ``.`` for those of a run, the run of a fold in other cases.

    None if they are not there.
    """
    try:
        for path in (Path(weights).resolve(), (folder.parent / weights).resolve()) if weights else ():
            if path.is_relative_to(folder):
                return path.relative_to(folder)
    except (OSError, ValueError):  # no path at all
        pass
    return None


def _edit_comparisons(folder: Path, name: str) -> dict[Path, str]:
    edits = {}
    for table in folder.parent.glob(_COMPARISONS):
        try:
            variants = parse_json(read_regular_file(table))
        except (OSError, ValueError, RecursionError):  # of someone else
            continue
        if not isinstance(variants, list) or not all(isinstance(each, dict) for each in variants):
            continue
        for variant in variants:
            paths = variant.get("runs")
            if isinstance(paths, list):
                variant["runs"] = [_renamed(path, folder.name, name) for path in paths]
        text = json.dumps(variants, indent=2) + "\n"
        if text != table.read_text("utf-8"):
            edits[table] = text
    return edits


def _renamed(path: Any, old: str, new: str) -> Any:
    return str(Path(path).with_name(new)) if isinstance(path, str) and Path(path).name == old else path
