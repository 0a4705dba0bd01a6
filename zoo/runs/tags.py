"""Tags, names for runs: numbered versions, which never move (``hotdog@3``), and labels, which do (``hotdog@prod``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.errors import IntegrityError, RunError, did_you_mean
from zoo.runs.manifest import MANIFEST, hash_file, read_manifest
from zoo.runs.record import RECORD
from zoo.runs.run import RUNS, WEIGHTS, RunFolder, is_run, read_run
from zoo.runs.tag_history import (
    NAME,
    NUMBER,
    Tag,
    current_user,
    is_folder_name,
    locked,
    read_history,
    utc_now,
    write_history,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LATEST = "latest"


def tag_run(run: RunFolder, name: str, *, runs: Path = RUNS) -> Tag:
    """Gives a tag to a finished run.

    Args:
        run: A run in `runs`.
        name: ``"hotdog@3"``, ``"hotdog@prod"``, or ``"hotdog"`` for the next number.
        runs: The folder of the runs, in which the tags are stored.

    Returns:
        The tag, with its full name.

    Raises:
        RunError: The name is invalid, the number belongs to another run, or the run is unfinished or in another
            folder; or ``tags.json`` cannot be read or written.
    """
    has_label = _check_name(name)
    _check_run(run, runs)
    weights = hash_file(run.weights_path)
    with locked(runs):
        history = read_history(runs)
        full = name if has_label else f"{name}@{_next_number(history, name)}"
        tag = Tag(name=full, run=run.name, created=run.record.created, weights=weights, at=utc_now(), by=current_user())
        if tag.version is not None:
            _check_version(tag, history)
        current = _select_current(history).get(full)
        if current is not None and _refer_to_same_run(current, tag):
            return current
        write_history(runs, [*history, tag])
    return tag


def untag(name: str, *, runs: Path = RUNS) -> Tag:
    """Removes a tag and returns it. Its history remains, and its number is never given to another run.

    Raises:
        RunError: There is no such tag, or ``tags.json`` cannot be read or written.
    """
    with locked(runs):
        history = read_history(runs)
        tag = _find(name, history, runs)
        removal = Tag(name=tag.name, run="", created="", weights="", at=utc_now(), by=current_user())
        write_history(runs, [*history, removal])
    return tag


def list_tags(runs: Path = RUNS) -> list[Tag]:
    """Returns all tags, sorted by model; numbers first, then labels.

    Raises:
        RunError: ``tags.json`` cannot be read.
    """
    return sorted(_select_current(read_history(runs)).values(), key=lambda t: (t.model, t.version or 10**9, t.label))


def find_tag(name: str, *, runs: Path = RUNS) -> Tag:
    """Returns the tag with a name; ``hotdog@latest`` is the highest number.

    Raises:
        RunError: There is no such tag, or ``tags.json`` cannot be read.
    """
    return _find(name, read_history(runs), runs)


def open_tagged(name: str, *, runs: Path = RUNS, check: bool = True) -> RunFolder:
    """Returns the run of a tag.

    Args:
        name: The tag.
        runs: The folder of the runs.
        check: Whether to compare the run's weights with those that were tagged, and its record with its manifest.

    Raises:
        RunError: There is no such tag, or its run was deleted or replaced by another one.
        IntegrityError: The run was changed.
    """
    tag = find_tag(name, runs=runs)
    run = _open(tag, runs)
    if check and (changed := _find_changed(tag, run)):
        raise IntegrityError(
            f"{run.path} is not what was tagged {tag.name}: {' and '.join(changed)} changed.",
            hint=f"Restore the folder, or tag it again: 'zoo runs tag {run.name} {tag.model}'.",
        )
    return run


def _find_changed(tag: Tag, run: RunFolder) -> list[str]:
    """Returns the files of a tagged run that determine its predictions, and were changed."""
    expected = {WEIGHTS: tag.weights}
    if (run.path / MANIFEST).is_file() and (record := read_manifest(run.path).get(RECORD)) is not None:
        expected[RECORD] = record.sha256
    return [name for name, digest in expected.items() if _hash(run.path / name) != digest]


def _hash(path: Path) -> str:
    try:
        return hash_file(path)
    except RunError:  # missing, too
        return ""


def has_run(tag: Tag, *, runs: Path = RUNS) -> bool:
    """Returns whether the run of a tag still exists in `runs` and is the same run."""
    try:
        _open(tag, runs)
    except RunError:
        return False
    return True


def tags_by_run(runs: Path = RUNS) -> dict[str, list[str]]:
    """Returns the names of the tags of each run in a folder, by the name of the run, without runs that no longer exist.

    Raises:
        RunError: ``tags.json`` cannot be read.
    """
    found: dict[str, list[str]] = {}
    for tag in list_tags(runs):
        if has_run(tag, runs=runs):
            found.setdefault(tag.run, []).append(tag.name)
    return found


def _check_name(name: str) -> bool:
    """Returns whether a name has a label or number, rather than being the name of a model; refuses invalid names."""
    match = NAME.fullmatch(name)
    label = match[2] if match else None
    if match is None or label == LATEST or (label and label.isdigit() and not NUMBER.fullmatch(label)):
        raise RunError(
            f"{name!r} is not a valid tag.",
            hint="Use hotdog@3, hotdog@prod, or hotdog for the next number; names consist of letters, digits and "
            f". _ - inside. '@{LATEST}' always means the highest number.",
        )
    return bool(label)


def _check_run(run: RunFolder, runs: Path) -> None:
    if not run.finished:
        raise RunError(
            f"The run {run.path} is not finished, so its weights may still change.",
            hint=f"'zoo finetune --resume {run.name}' resumes it.",
        )
    if not is_folder_name(run.name):
        raise RunError(f"The folder name {run.name!r} cannot be tagged.", hint="Rename the folder.")
    if run.path.resolve().parent != runs.resolve():
        raise RunError(f"The run {run.path} is not in {runs}/.", hint="Pass the folder that contains it with --runs.")


def _check_version(tag: Tag, history: Sequence[Tag]) -> None:
    for earlier in history:
        if earlier.name == tag.name and earlier.run and not _refer_to_same_run(earlier, tag):
            raise RunError(
                f"{tag.name} was given to the run {earlier.run} on {earlier.at[:10]}; a numbered version never moves.",
                hint=f"'zoo runs tag {tag.run} {tag.model}' assigns the next number, "
                f"{tag.model}@{_next_number(history, tag.model)}.",
            )


def _open(tag: Tag, runs: Path) -> RunFolder:
    if not is_run(runs / tag.run):
        raise RunError(
            f"{tag.name} is the run {tag.run}, which no longer exists in {runs}/.",
            hint=f"Restore the folder, or remove the tag with 'zoo runs untag {tag.name}'.",
        )
    run = read_run(runs / tag.run)
    if run.record.created != tag.created:
        raise RunError(
            f"{tag.name} is a run {tag.run} of {tag.created}, but the one in {runs}/ is of {run.record.created}.",
            hint="The tagged run was deleted, and a new one got its name. "
            f"Remove the tag with 'zoo runs untag {tag.name}'.",
        )
    return run


def _select_current(history: Sequence[Tag]) -> dict[str, Tag]:
    latest = {tag.name: tag for tag in history}
    return {name: tag for name, tag in latest.items() if tag.run}


def _find(name: str, history: Sequence[Tag], runs: Path) -> Tag:
    current = _select_current(history)
    model, _, label = name.partition("@")
    if label == LATEST:
        numbered = [tag for tag in current.values() if tag.model == model and tag.version is not None]
        if numbered:
            return max(numbered, key=lambda tag: tag.version or 0)
    if name not in current:
        hint = did_you_mean(name, current) or f"'zoo runs tags' lists all of {runs}/." if current else ""
        raise RunError(f"There is no tag '{name}' in {runs}/.", hint=hint or f"'zoo runs tag RUN {name}' creates it.")
    return current[name]


def _next_number(history: Sequence[Tag], model: str) -> int:
    """Returns the next number of a model; numbers of removed tags are not used again."""
    return 1 + max((tag.version for tag in history if tag.model == model and tag.version is not None), default=0)


def _refer_to_same_run(one: Tag, other: Tag) -> bool:
    return (one.run, one.created, one.weights) == (other.run, other.created, other.weights)
