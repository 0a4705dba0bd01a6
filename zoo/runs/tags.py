"""Names for runs: numbered versions, which never move (``hotdog@3``), and labels, which do (``hotdog@prod``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.errors import RunError, did_you_mean
from zoo.runs.manifest import file_hash
from zoo.runs.run import RUNS, Run, is_run, read_run
from zoo.runs.tag_history import NAME, NUMBER, Tag, is_folder_name, locked, now, read_history, user, write_history

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LATEST = "latest"


def tag_run(run: Run, name: str, *, runs: Path = RUNS) -> Tag:
    """Lets a name stand for a finished run.

    Args:
        run: A run below `runs`.
        name: ``"hotdog@3"``, ``"hotdog@prod"``, or ``"hotdog"`` for the next number.
        runs: The folder of the runs, where the names are kept.

    Raises:
        RunError: The name cannot be one, the number was given to another run before, or the run is unfinished or lies
            elsewhere; ``tags.json`` cannot be read or written.
    """
    has_label = _check_name(name)
    _check_run(run, runs)
    weights = file_hash(run.weights_path)
    with locked(runs):
        history = read_history(runs)
        full = name if has_label else f"{name}@{_next_number(history, name)}"
        made = Tag(name=full, run=run.name, created=_created(run), weights=weights, at=now(), by=user())
        if made.version is not None:
            _refuse_to_move(made, history)
        current = _current(history).get(full)
        if current is not None and _same(current, made):
            return current
        write_history(runs, [*history, made])
    return made


def untag(name: str, *, runs: Path = RUNS) -> Tag:
    """Withdraws a name and returns what it stood for; its history stays, and its number is not given to another run.

    Raises:
        RunError: There is no such tag, or ``tags.json`` cannot be read or written.
    """
    with locked(runs):
        history = read_history(runs)
        tag = _find(name, history, runs)
        withdrawn = Tag(name=tag.name, run="", created="", weights="", at=now(), by=user())
        write_history(runs, [*history, withdrawn])
    return tag


def list_tags(runs: Path = RUNS) -> list[Tag]:
    """Returns the names that stand for a run: model by model, numbers first and in their order.

    Raises:
        RunError: ``tags.json`` cannot be read.
    """
    return sorted(_current(read_history(runs)).values(), key=lambda t: (t.model, t.version or 10**9, t.label))


def find_tag(name: str, *, runs: Path = RUNS) -> Tag:
    """Returns what a name stands for; ``hotdog@latest`` is the highest number.

    Raises:
        RunError: There is no such tag, or ``tags.json`` cannot be read.
    """
    return _find(name, read_history(runs), runs)


def open_tagged(name: str, *, runs: Path = RUNS) -> Run:
    """Returns the run that a name stands for.

    Raises:
        RunError: There is no such tag, or its run is gone, or another has come into its place.
    """
    return _open(find_tag(name, runs=runs), runs)


def is_there(tag: Tag, *, runs: Path = RUNS) -> bool:
    """Returns whether the very run that a tag was given to is still below `runs`."""
    try:
        _open(tag, runs)
    except RunError:
        return False
    return True


def tags_by_run(runs: Path = RUNS) -> dict[str, list[str]]:
    """Returns the names that stand for each run below a folder, by the run's name; none for runs that are gone.

    Raises:
        RunError: ``tags.json`` cannot be read.
    """
    found: dict[str, list[str]] = {}
    for tag in list_tags(runs):
        if is_there(tag, runs=runs):
            found.setdefault(tag.run, []).append(tag.name)
    return found


def _check_name(name: str) -> bool:
    """Returns whether a name has a label, or is that of a model alone; refuses what is neither."""
    match = NAME.fullmatch(name)
    label = match[2] if match else None
    if match is None or label == LATEST or (label and label.isdigit() and not NUMBER.fullmatch(label)):
        raise RunError(
            f"{name!r} cannot name a version.",
            hint="Say hotdog@3, hotdog@prod, or hotdog for the next number: letters, digits and . _ - inside; "
            f"'@{LATEST}' is always the highest number.",
        )
    return bool(label)


def _check_run(run: Run, runs: Path) -> None:
    if not run.finished:
        raise RunError(
            f"The run {run.path} is not finished: its weights may still change.",
            hint=f"'zoo finetune --resume {run.name}' goes on with it.",
        )
    if not is_folder_name(run.name):
        raise RunError(f"The name of the folder {run.name!r} cannot be written down.", hint="Rename the folder.")
    if run.path.resolve().parent != runs.resolve():
        raise RunError(f"The run {run.path} does not lie in {runs}/.", hint="Say --runs with the folder it lies in.")


def _refuse_to_move(made: Tag, history: Sequence[Tag]) -> None:
    for earlier in history:
        if earlier.name == made.name and earlier.run and not _same(earlier, made):
            raise RunError(
                f"{made.name} was given to the run {earlier.run} on {earlier.at[:10]}; a numbered version never moves.",
                hint=f"'zoo runs tag {made.run} {made.model}' gives the next number, "
                f"{made.model}@{_next_number(history, made.model)}.",
            )


def _open(tag: Tag, runs: Path) -> Run:
    if not is_run(runs / tag.run):
        raise RunError(
            f"{tag.name} stands for the run {tag.run}, which is gone from {runs}/.",
            hint=f"Put the folder back, or say 'zoo runs untag {tag.name}'.",
        )
    run = read_run(runs / tag.run)
    if _created(run) != tag.created:
        raise RunError(
            f"{tag.name} stands for a run {tag.run} of {tag.created}; the one in {runs}/ now is of {_created(run)}.",
            hint=f"The run was deleted, and another got its name. 'zoo runs untag {tag.name}' forgets the old one.",
        )
    return run


def _current(history: Sequence[Tag]) -> dict[str, Tag]:
    return {name: tag for name, tag in {tag.name: tag for tag in history}.items() if tag.run}


def _find(name: str, history: Sequence[Tag], runs: Path) -> Tag:
    current = _current(history)
    model, _, label = name.partition("@")
    if label == LATEST:
        numbered = [tag for tag in current.values() if tag.model == model and tag.version is not None]
        if numbered:
            return max(numbered, key=lambda tag: tag.version or 0)
    if name not in current:
        hint = did_you_mean(name, current) or f"'zoo runs tags' lists all of {runs}/." if current else ""
        raise RunError(
            f"There is no tag '{name}' in {runs}/.", hint=hint or f"'zoo runs tag RUN {name}' gives it to a run."
        )
    return current[name]


def _next_number(history: Sequence[Tag], model: str) -> int:
    """Counts withdrawn numbers too: a number is given out once."""
    return 1 + max((tag.version for tag in history if tag.model == model and tag.version is not None), default=0)


def _same(one: Tag, other: Tag) -> bool:
    return (one.run, one.created, one.weights) == (other.run, other.created, other.weights)


def _created(run: Run) -> str:
    return run.record.created
