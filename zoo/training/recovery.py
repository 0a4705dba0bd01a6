"""Checks what a stopped run left behind before it is resumed, and restores what its checkpoint contains.

A checkpoint has the state of the training. The metrics of finished epochs and the weights of the best one are files of
their own, which a full disk or a power failure may have left empty or torn.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from zoo.errors import RunError
from zoo.events import Note
from zoo.runs.manifest import hash_file
from zoo.runs.record import RunRecord
from zoo.runs.run import METRICS, WEIGHTS, RunFolder
from zoo.utils.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from zoo.events import Observer

_Row = dict[str, Any]


def describe_files(folder: Path) -> dict[str, Any]:
    """Returns what a checkpoint records about the other files of its run, as plain values."""
    weights = folder / WEIGHTS
    return {"metrics": _read_metrics(folder), "weights": hash_file(weights) if weights.is_file() else None}


def clear_remains(folder: Path) -> None:
    """Deletes the metrics of a run that starts again, if they are damaged: results could not be appended to them."""
    if not _read_metrics(folder):
        (folder / METRICS).unlink(missing_ok=True)


def check_remains(folder: Path, metadata: Mapping[str, Any], observer: Observer) -> None:
    """Checks the metrics and the weights of a run before it is resumed; restores the metrics if they are damaged.

    Args:
        folder: The run folder.
        metadata: The metadata of its checkpoint.
        observer: Receives a note on what was restored.

    Raises:
        RunError: A file is damaged, and the checkpoint does not contain what was in it.
    """
    recorded = metadata.get("metrics")  # a checkpoint of an earlier version has none
    expected = None if recorded is None else _by_epoch(recorded)
    found = _by_epoch(_read_metrics(folder))
    if expected is not None and not expected.items() <= found.items():
        _write_metrics(folder, [*expected.values()])
        observer(Note(text=f"{METRICS} was damaged, and was restored from the checkpoint.", warning=True))
    elif expected is None and metadata.get("best_epoch", -1) >= 0 and metadata["best_epoch"] not in found:
        raise _damaged(folder / METRICS, f"it has no row for epoch {metadata['best_epoch']}")
    if has_lost_weights(folder, metadata):
        if not _contains_best(metadata):
            raise _damaged(folder / WEIGHTS, f"it is not what was saved after epoch {metadata['best_epoch']}")
        observer(Note(text=f"{WEIGHTS} is damaged, and is restored from the checkpoint.", warning=True))


def has_lost_weights(folder: Path, metadata: Mapping[str, Any]) -> bool:
    """Returns whether the file with the weights of the best epoch is missing or damaged.

    After the checkpoint a better epoch may have replaced it: then the metrics have a row for that epoch, which was
    written first. A probe may have been fitted once more, in the last moments of a run: then the file is whole.
    """
    recorded = metadata.get("weights")
    if recorded is None:
        return False
    with suppress(RunError):  # missing, or no regular file
        if hash_file(folder / WEIGHTS) == recorded:
            return False
    if metadata["best_epoch"] == 0:
        return not _is_whole(folder / WEIGHTS)
    later = (row for row in _read_metrics(folder) if row["epoch"] > metadata["epoch"])
    return not (any(row.get("best") is True for row in later) and (folder / WEIGHTS).is_file())


def _is_whole(path: Path) -> bool:
    import safetensors

    try:
        with safetensors.safe_open(path, framework="numpy"):  # reads the header, and compares the size with it
            return True
    except (OSError, safetensors.SafetensorError):
        return False


def _contains_best(metadata: Mapping[str, Any]) -> bool:
    """Returns whether the best epoch is the one after which a checkpoint was written."""
    return bool(metadata["step"] == 0 and metadata["best_epoch"] == metadata["epoch"])


def _read_metrics(folder: Path) -> list[_Row]:
    try:
        return RunFolder(folder, RunRecord()).metrics()
    except RunError:  # not text, or a line that is no result
        return []


def _by_epoch(rows: list[_Row]) -> dict[int, _Row]:
    return {row["epoch"]: row for row in rows}


def _write_metrics(folder: Path, rows: list[_Row]) -> None:
    with atomic_write(folder / METRICS) as path:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _damaged(path: Path, reason: str) -> RunError:
    return RunError(
        f"{path} is damaged: {reason}.",
        hint="Restore the file from a backup, or start a new run. Nothing was changed.",
    )
