"""Resuming a run that was stopped or killed: refused where something has changed."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from zoo.errors import RunError
from zoo.events import Note
from zoo.runs.manifest import write_manifest
from zoo.runs.record import RECORD, PhotoRecord, RunRecord, rename_hardware
from zoo.runs.run import CHECKPOINT, FILES, METRICS, WEIGHTS
from zoo.training.distributed.process_group import SINGLE_PROCESS
from zoo.utils.files import remove_temporary_files, sync_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from zoo.events import Observer
    from zoo.runs.run import Run
    from zoo.training.distributed.process_group import ProcessGroup

_LOCK = ".lock"
# Values of the record's ``hardware`` that are decided during training and change a result by rounding: checkpoints
# carry them.
DECIDED = ("micro_batch_size", "compile", "compile_reason")
# Where these differ, results differ by rounding.
_MACHINE = ("device", "gpu", "processor", "threads", "processes")
_MOST_NAMES = 3
_ABSENT = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumePoint:
    """A run to resume.

    Attributes:
        run: As it was left.
        saved: Whether there is a checkpoint to resume from; without one the run begins again.
        anyway: Whether to resume although something has changed.
    """

    run: Run
    saved: bool
    anyway: bool = False


def find_resume_point(run: Run, *, frozen: bool, anyway: bool) -> ResumePoint:
    """Returns from where to resume a run.

    Args:
        run: The run.
        frozen: Whether its whole backbone is frozen: such runs write no checkpoints.
        anyway: As in `ResumePoint`.

    Raises:
        RunError: The run is finished.
    """
    if run.finished:
        raise RunError(f"The run {run.path} is finished.", hint="To train on from it, pass its name with --weights.")
    return ResumePoint(run=run, saved=not frozen and (run.path / CHECKPOINT).is_file(), anyway=anyway)


def seal(folder: Path) -> None:
    """Completes the folder of a finished run: deletes the checkpoint and temporary files, and writes the manifest.

    Raises:
        RunError: The folder cannot be written to.
    """
    sync_files(folder, (RECORD, WEIGHTS, METRICS))  # before the checkpoint is gone, from which they could be made again
    for name in (CHECKPOINT, _LOCK):
        (folder / name).unlink(missing_ok=True)
    remove_temporary_files(folder, FILES)
    write_manifest(folder)


@contextmanager
def locked_run(folder: Path, processes: ProcessGroup = SINGLE_PROCESS) -> Iterator[None]:
    """Keeps other trainings out of a run folder for the length of a block; however a process ends, the lock is freed.

    Raises:
        RunError: Another process trains this run, or the folder cannot be written to.
    """
    if not processes.is_main:
        yield
        return
    import filelock

    lock = filelock.FileLock(folder / _LOCK, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise RunError(f"Another process is training {folder}.", hint="Wait for it, or end it.") from None
    except OSError as error:
        raise RunError(f"Cannot write to {folder}: {error.strerror or error}.", hint="Is it read-only?") from error
    try:
        remove_temporary_files(folder, FILES)
        yield
    finally:
        (folder / _LOCK).unlink(missing_ok=True)
        lock.release()


def resume_record(
    point: ResumePoint, now: RunRecord, photos: PhotoRecord, *, observer: Observer, processes: ProcessGroup
) -> tuple[RunRecord, float]:
    """Returns the record with which a run is resumed, and the seconds of training before its checkpoint.

    Args:
        point: The run.
        now: The record that the run would begin with now (`zoo.training.record.start_record`).
        photos: The photos that it would be trained on now.
        observer: Receives a warning about whatever may change the result.
        processes: The processes that train together.

    Raises:
        RunError: Data, configuration or code has changed, and `point` does not say to resume anyway.
    """
    from zoo.training.checkpoint import describe_checkpoint

    run, about = point.run, None
    if point.saved:
        about = processes.broadcast(lambda: describe_checkpoint(run.path))
    then = run.record if about is None else replace(run.record, config=about["config"])
    found = find_changes(then, replace(now, config=run.config), run.photos(), photos)
    if found and not point.anyway:
        listed = "\n".join(f"  {change}" for change in found)
        raise RunError(
            f"{run.path} cannot be resumed as the run that it was begun as:\n{listed}",
            hint="Restore what has changed, or pass --resume-anyway; the record then lists the changes.",
        )
    decided = {"micro_batch_size": None} if about is None else rename_hardware(about["machine"])
    hardware = {name: value for name, value in run.record.hardware.items() if name not in DECIDED} | decided
    saved = {} if about is None else {name: about[name] for name in ("epoch", "step")}
    record = replace(run.record, status="training", hardware=hardware, saved=saved)
    if found:
        observer(Note(text=f"Something has changed since the run was begun: {'; '.join(found)}.", warning=True))
        change = {"when": datetime.now(UTC).isoformat(timespec="seconds"), "what": found}
        record = replace(
            record,
            classes=now.classes,
            data=now.data,
            packages=now.packages,
            plugins=now.plugins,
            sources=now.sources,
            changed=(*record.changed, change),
        )
    _warn_of_other_machine(run.record.hardware, now.hardware, observer)
    return record, 0.0 if about is None else float(about["seconds"])


def describe_place(record: RunRecord) -> str:
    """Returns how far a run was saved: ``"after step 3 of epoch 2"``; empty where nothing was."""
    if not record.saved:
        return ""
    step, epoch = record.saved["step"], record.saved["epoch"]
    return f"after step {step} of epoch {epoch + 1}" if step else f"after epoch {epoch}"


def find_changes(then: RunRecord, now: RunRecord, photos_then: PhotoRecord, photos_now: PhotoRecord) -> list[str]:
    """Returns what makes a resumed run another run than the one that was begun; each item is half a sentence.

    Args:
        then: The record of the run as it was begun.
        now: The record that it would begin with now.
        photos_then: The photos that it was begun with.
        photos_now: The photos that it would be trained on now.
    """
    return [
        *_data_changes(then, now, photos_then, photos_now),
        *_value_changes("option", then.config, now.config),
        *_value_changes("version of", then.packages, now.packages),
        *_value_changes("plugin", then.plugins, now.plugins),
        *_value_changes("source code of", then.sources, now.sources),
    ]


def _data_changes(then: RunRecord, now: RunRecord, photos_then: PhotoRecord, photos_now: PhotoRecord) -> list[str]:
    if then.data.fingerprint == now.data.fingerprint:
        return []
    found = []
    if then.classes != now.classes:
        found.append(f"classes: they were {', '.join(then.classes)} and are {', '.join(now.classes)}")
    for split in photos_now.names:
        before, after = _hashes(photos_then, split), _hashes(photos_now, split)
        found += _list_names(f"{split} photos that are new", after.keys() - before.keys())
        found += _list_names(f"{split} photos that are gone", before.keys() - after.keys())
        both = before.keys() & after.keys()
        changed = {name for name in both if before[name] != after[name]}
        found += _list_names(f"{split} photos with another content or label", changed)
    return found or [f"data: its fingerprint was {then.data.fingerprint[:12]} and is {now.data.fingerprint[:12]}"]


def _hashes(photos: PhotoRecord, split: str) -> dict[str, str]:
    names, hashes = photos.names.get(split, ()), photos.hashes.get(split, ())
    return {name: hashes[place] if place < len(hashes) else "" for place, name in enumerate(names)}


def _list_names(what: str, names: Iterable[str]) -> list[str]:
    listed = sorted(names)
    if not listed:
        return []
    more = f" and {len(listed) - _MOST_NAMES} more" if len(listed) > _MOST_NAMES else ""
    return [f"{what}: {', '.join(listed[:_MOST_NAMES])}{more}"]


def _value_changes(what: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{what} {name}: was {_describe(then, name)}, is {_describe(now, name)}"
        for name in dict.fromkeys((*then, *now))
        if then.get(name, _ABSENT) != now.get(name, _ABSENT)
    ]


def _describe(values: Mapping[str, Any], name: str) -> str:
    return str(values[name]) if name in values else "not there"


def _warn_of_other_machine(then: Mapping[str, Any], now: Mapping[str, Any], observer: Observer) -> None:
    if other := [f"{name} {then.get(name)} -> {now.get(name)}" for name in _MACHINE if then.get(name) != now.get(name)]:
        text = f"The run was begun on another machine ({', '.join(other)}): its last digits may differ."
        observer(Note(text=text, warning=True))
