"""The folder of a cross-validation: a run for each fold, and what they say together.

``fold-1``, ``fold-2`` ...  the runs (`zoo.runs.run`), each with the predictions for the photos that it holds out
``folds.json``              the configuration, and once all folds are trained the ``results``
``predictions.csv``         the predictions of all folds (`zoo.runs.predictions`)
``confusion.png``, ``mistakes.png``
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import RunError, ZooError, did_you_mean
from zoo.runs.lock import is_locked
from zoo.runs.run import RUNS, RunFolder, is_run, read_run
from zoo.utils.files import atomic_write, parse_json, read_regular_file, replace_nonfinite
from zoo.utils.paths import parse_path

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1
FOLDS = "folds.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossValidationRecord:
    """The content of ``folds.json``.

    Attributes:
        status: ``"training"`` or ``"finished"``.
        created: When it was started, ISO 8601.
        folds: The number of folds.
        data: Name of the dataset.
        config: The fields of `FinetuneConfig`, without a fold.
        results: What all folds say together; empty while one is missing.
    """

    status: str = "training"
    created: str = ""
    folds: int = 0
    data: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CrossValidationFolder:
    """The folder of a cross-validation, with what is recorded in it.

    Attributes:
        path: The folder.
        record: The content of ``folds.json``.
    """

    path: Path
    record: CrossValidationRecord = field(repr=False)

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.path.resolve().name

    @property
    def finished(self) -> bool:
        """Whether all folds are trained and evaluated."""
        return self.record.status == "finished"

    @property
    def status(self) -> str:
        """``"finished"``, ``"training"``, or ``"stopped"`` if no process trains it any more."""
        return "stopped" if self.record.status == "training" and not is_locked(self.path) else self.record.status

    def fold(self, number: int) -> Path:
        """Returns the folder of the run of a fold, which need not exist."""
        return self.path / f"fold-{number}"

    def runs(self) -> list[RunFolder]:
        """Returns the runs of the folds that were started, in the order of the folds."""
        folders = map(self.fold, range(1, self.record.folds + 1))
        return [read_run(folder) for folder in folders if is_run(folder)]


def is_cross_validation(folder: Path) -> bool:
    """Returns whether a folder contains the record of a cross-validation, readable or not."""
    try:
        return (folder / FOLDS).is_file()
    except OSError:  # the name is too long, or the parent folder is not accessible
        return False


def find_cross_validation(
    reference: str | os.PathLike[str], *, runs: str | os.PathLike[str] = RUNS
) -> CrossValidationFolder | None:
    """Returns a cross-validation by its path or its name below `runs`; None if there is none.

    Raises:
        RunError: Its record cannot be read.
    """
    try:
        path = parse_path(reference)
    except ZooError:
        return None
    for folder in (path, parse_path(runs) / path):
        if is_cross_validation(folder):
            return CrossValidationFolder(folder, read_folds(folder))
    return None


def open_cross_validation(
    reference: str | os.PathLike[str], *, runs: str | os.PathLike[str] = RUNS
) -> CrossValidationFolder:
    """Returns a cross-validation as `find_cross_validation` does.

    Raises:
        RunError: There is none of that path or name, or its record cannot be read.
    """
    if (found := find_cross_validation(reference, runs=runs)) is not None:
        return found
    known = [each.name for each in list_cross_validations(runs)]
    raise RunError(
        f"There is no cross-validation '{os.fspath(reference)}', neither as a folder nor in {os.fspath(runs)}/.",
        hint=did_you_mean(Path(reference).name, known) or "'zoo runs' lists them.",
    )


def list_cross_validations(runs: str | os.PathLike[str] = RUNS) -> list[CrossValidationFolder]:
    """Returns the cross-validations in a folder, oldest first, without those whose record cannot be read."""
    found = []
    for file in parse_path(runs).glob(f"*/{FOLDS}"):
        try:
            found.append(CrossValidationFolder(file.parent, read_folds(file.parent)))
        except RunError:
            continue
    return sorted(found, key=lambda each: (each.record.created, each.name))


def write_folds(folder: Path, record: CrossValidationRecord) -> None:
    """Writes ``folds.json`` atomically.

    Raises:
        RunError: The folder cannot be written to.
    """
    content = replace_nonfinite({"format": FORMAT, **asdict(record)})
    with atomic_write(folder / FOLDS) as path:
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_folds(folder: Path) -> CrossValidationRecord:
    """Returns the content of ``folds.json``.

    Raises:
        RunError: The file cannot be read, or is of a newer format.
    """
    path = folder / FOLDS
    try:
        values = parse_json(read_regular_file(path))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {error}.", hint="It may be truncated or edited by hand.") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise RunError(
            f"{path} is not the record of a cross-validation of format {FORMAT}.",
            hint="A newer version of the zoo may have written it.",
        )
    fields = {"status": str, "created": str, "folds": int, "data": str, "config": dict, "results": dict}
    if wrong := next((name for name, kind in fields.items() if not isinstance(values.get(name), kind)), ""):
        raise RunError(f"{path} has an unreadable '{wrong}'.", hint="It may have been edited by hand.")
    return CrossValidationRecord(**{name: values[name] for name in fields})
