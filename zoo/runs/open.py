"""Finds the run that a user means: by the path of its folder, its name, or a tag."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from zoo.config import FinetuneConfig
from zoo.errors import ConfigError, RunError, did_you_mean
from zoo.runs.record import RECORD
from zoo.runs.run import RUNS, Run, is_run, read_run
from zoo.runs.tag_history import is_tag
from zoo.runs.tags import open_tagged

_LISTED_RUNS = 5  # in the hint of an error


def open_run(reference: str | os.PathLike[str], *, runs: Path = RUNS) -> Run:
    """Returns a run.

    Args:
        reference: The path of the run folder, the name of a run below `runs`, or a tag (``hotdog@3``).
        runs: The folder of the runs.

    Raises:
        RunError: There is no such run, or its record cannot be read; the hint lists close matches.
    """
    for folder in (_to_path(reference), runs / reference):
        if is_run(folder):
            return read_run(folder)
    name = os.fspath(reference)
    if is_tag(name):
        return open_tagged(name, runs=runs)
    known = sorted(record.parent.name for record in runs.glob(f"*/{RECORD}"))
    hint = did_you_mean(Path(name).name, known)
    if known and not hint:
        hint = f"The last runs there are {', '.join(known[-_LISTED_RUNS:])}."
    raise RunError(f"There is no run '{name}', neither as a folder nor in {runs}/.", hint=hint)


def locate_path(reference: str | os.PathLike[str], *, runs: Path = RUNS) -> Path:
    """Returns the path that a user means: an existing file or folder, or else the folder of a run (see `open_run`).

    Raises:
        RunError: There is no such path, run or tag.
    """
    path = _to_path(reference)
    return path if _exists(path) else open_run(reference, runs=runs).path


def load_config(run: Run, **changes: Any) -> FinetuneConfig:
    """Returns the configuration of a run, with some fields changed.

    Raises:
        RunError: The configuration cannot be read; it was edited by hand, or written by another version.
    """
    try:
        return FinetuneConfig(**{**run.config, **changes})
    except (TypeError, ConfigError) as error:
        raise RunError(f"{run.path}: 'config' in run.json is not readable: {error}") from error


def _to_path(reference: str | os.PathLike[str]) -> Path:
    if not isinstance(reference, str | os.PathLike):
        raise RunError(
            f"A run cannot be opened by {type(reference).__name__}.",
            hint="Pass the path of its folder, its name or a tag.",
        )
    return Path(os.path.expanduser(reference))  # noqa: PTH111  pathlib raises if there is no such user


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or contains a null byte
        return False
