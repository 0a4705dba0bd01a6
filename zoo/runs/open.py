"""From what the user wrote, a folder, a name or a tag, to the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo.config import FinetuneConfig
from zoo.errors import ConfigError, RunError, did_you_mean
from zoo.runs.record import RECORD
from zoo.runs.run import RUNS, Run, is_run, read_run
from zoo.runs.tag_history import is_tag
from zoo.runs.tags import open_tagged


def open_run(reference: str | Path, *, runs: Path = RUNS) -> Run:
    """Returns the run of a folder's path, of a run's name below `runs`, or of a tag kept there (``hotdog@3``).

    Raises:
        RunError: No such run, or the folder is not a readable run; the hint lists close names.
    """
    for folder in (Path(reference), runs / reference):
        if is_run(folder):
            return read_run(folder)
    if is_tag(str(reference)):
        return open_tagged(str(reference), runs=runs)
    known = sorted(record.parent.name for record in runs.glob(f"*/{RECORD}"))
    hint = did_you_mean(Path(reference).name, known) or (f"There is: {', '.join(known[-5:])}." if known else "")
    raise RunError(f"There is no run '{reference}', neither as a folder nor below {runs}/.", hint=hint)


def locate(reference: str | Path, *, runs: Path = RUNS) -> Path:
    """Returns the path of what may be a file, a folder, or a run: a path that exists as it is, else `open_run`'s.

    Raises:
        RunError: There is no such path, run or tag.
    """
    return Path(reference) if _exists(Path(reference)) else open_run(reference, runs=runs).path


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # as in `is_run`; a null byte
        return False


def config_of(run: Run, **changes: Any) -> FinetuneConfig:
    """Returns the configuration that a run was made with, with some fields changed.

    Raises:
        RunError: It is not readable: edited by hand, or written by another version.
    """
    try:
        return FinetuneConfig(**{**run.config, **changes})
    except (TypeError, ConfigError) as error:
        raise RunError(f"{run.path}: 'config' in run.json is not readable: {error}") from error
