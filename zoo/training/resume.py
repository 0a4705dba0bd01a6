"""Takes up a run that was stopped or killed: refuses where something has changed, and brings its record up to date."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from zoo.errors import RunError
from zoo.events import Note
from zoo.runs.manifest import write_manifest
from zoo.runs.run import CHECKPOINT, DIGITS, FILES, METRICS, RECORD, WEIGHTS
from zoo.training.distributed.process_group import SINGLE_PROCESS
from zoo.utils.files import flush, sweep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from zoo.events import Observer
    from zoo.runs.run import Run
    from zoo.training.distributed.process_group import ProcessGroup

_LOCK = ".lock"
# What is decided on the way, under ``hardware`` in the record, and changes a result by rounding: a checkpoint knows it.
DECIDED = ("part_size", "compile", "compile_reason")
# Where these differ, results differ by rounding.
_MACHINE = ("device", "gpu", "processor", "threads", "processes")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumePoint:
    """A run to go on with.

    Attributes:
        run: As it was left.
        saved: Whether there is a checkpoint to go on from; else it begins again.
        anyway: Whether to go on although something has changed.
    """

    run: Run
    saved: bool
    anyway: bool = False


def find_resume_point(run: Run, *, frozen: bool, anyway: bool) -> ResumePoint:
    """Returns how to go on with a run.

    Args:
        run: To go on with.
        frozen: Whether the whole backbone is, and there are no checkpoints.
        anyway: As in `ResumePoint`.

    Raises:
        RunError: It is finished.
    """
    if run.finished:
        raise RunError(f"The run {run.path} is finished.", hint="To train on from it, say --weights with its name.")
    return ResumePoint(run=run, saved=not frozen and (run.path / CHECKPOINT).is_file(), anyway=anyway)


def seal(folder: Path) -> None:
    """Makes the last of a finished run: no checkpoint, nothing half written, and a manifest of the safe_point.

    Raises:
        RunError: The folder cannot be written to.
    """
    flush(folder, (RECORD, WEIGHTS, METRICS))  # before what they could be made from again is gone
    for name in (CHECKPOINT, _LOCK):
        (folder / name).unlink(missing_ok=True)
    sweep(folder, FILES)
    write_manifest(folder)


@contextmanager
def locked_run(folder: Path, processes: ProcessGroup = SINGLE_PROCESS) -> Iterator[None]:
    """Keeps other trainings out of a run folder for the length of a block; however a process ends, it lets go.

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
        sweep(folder, FILES)
        yield
    finally:
        (folder / _LOCK).unlink(missing_ok=True)
        lock.release()


def resume_record(
    resume_point: ResumePoint, now: Mapping[str, Any], *, observer: Observer, processes: ProcessGroup
) -> tuple[dict[str, Any], float]:
    """Returns the record with which a run goes on, and the seconds that were spent on what it goes on from.

    Args:
        resume_point: The run.
        now: The record that a run would begin with now, as `zoo.training.record.start_record` returns it.
        observer: Told what may make the result another.
        processes: Those that train together.

    Raises:
        RunError: Its data, configuration or code has changed, and `resume_point` does not say to go on anyway.
    """
    from zoo.training.checkpoint import describe_checkpoint

    run = resume_point.run
    about = processes.broadcast(lambda: describe_checkpoint(run.path)) if resume_point.saved else None
    then = run.record if about is None else {**run.record, "config": about["config"]}
    found = changes(then, {**now, "config": run.config})
    if found and not resume_point.anyway:
        raise RunError(
            f"{run.path} would not go on as the run that it was begun as:\n" + "\n".join(f"  {item}" for item in found),
            hint="Put that back as it was, or add --resume-anyway; the record will then tell what has changed.",
        )
    machine = {name: value for name, value in run.record["hardware"].items() if name not in DECIDED}
    machine |= {"part_size": None} if about is None else about["machine"]
    record = {**run.record, "status": "training", "hardware": machine}
    record.pop("saved", None)
    if about is not None:
        record["saved"] = {name: about[name] for name in ("epoch", "step")}
    if found:
        observer(Note(text=f"Something has changed since the run was begun: {'; '.join(found)}.", warning=True))
        record |= {name: now[name] for name in ("classes", "data", "packages", "plugins", "sources")}
        when = datetime.now(UTC).isoformat(timespec="seconds")
        record["changed"] = [*run.record.get("changed", ()), {"when": when, "what": found}]
    _tell_other_machine(run.record["hardware"], now["hardware"], observer)
    return record, 0.0 if about is None else float(about["seconds"])


def place(record: Mapping[str, Any]) -> str:
    """Returns how far a run was saved: ``"after step 3 of epoch 2"``; empty where nothing was."""
    saved = record.get("saved")
    if not saved:
        return ""
    step, epoch = saved["step"], saved["epoch"]
    return f"after step {step} of epoch {epoch + 1}" if step else f"after epoch {epoch}"


def _tell_other_machine(then: Mapping[str, Any], now: Mapping[str, Any], observer: Observer) -> None:
    if other := [f"{name} {then.get(name)} -> {now.get(name)}" for name in _MACHINE if then.get(name) != now.get(name)]:
        text = f"It was begun on another machine ({', '.join(other)}): the result may differ in its last digits."
        observer(Note(text=text, warning=True))


_MOST_NAMES = 3
_ABSENT = object()


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Returns what makes a run that goes on another run than the one that was begun; each item is half a sentence.

    Args:
        then: The run record, as it was when the run was begun.
        now: The record that a run would begin with now.
    """
    return [
        *_data_changes(then, now),
        *_value_changes("option", then["config"], now["config"]),
        *_value_changes("version of", then.get("packages", {}), now["packages"]),
        *_value_changes("plugin", then.get("plugins", {}), now["plugins"]),
        *_value_changes("source code of", then.get("sources", {}), now["sources"]),
    ]


def _data_changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    was, is_ = then["data"], now["data"]
    if was.get("fingerprint") == is_["fingerprint"]:
        return []
    found = []
    if list(then["classes"]) != list(now["classes"]):
        found.append(f"classes: they were {', '.join(then['classes'])} and are {', '.join(now['classes'])}")
    for part in is_["split"]:
        before, after = _photos(was, part), _photos(is_, part)
        found += _named(f"{part} photos that are new", after.keys() - before.keys())
        found += _named(f"{part} photos that are gone", before.keys() - after.keys())
        both = before.keys() & after.keys()
        found += _named(f"{part} photos with another content or label", {n for n in both if before[n] != after[n]})
    return found or [f"data: its fingerprint was {str(was.get('fingerprint'))[:12]} and is {is_['fingerprint'][:12]}"]


def _photos(data: Mapping[str, Any], part: str) -> dict[str, str]:
    names, digests = data.get("split", {}).get(part, []), data.get("digests", {}).get(part, "")
    return {name: digests[DIGITS * place : DIGITS * (place + 1)] for place, name in enumerate(names)}


def _named(what: str, names: Iterable[str]) -> list[str]:
    listed = sorted(names)
    if not listed:
        return []
    more = f" and {len(listed) - _MOST_NAMES} more" if len(listed) > _MOST_NAMES else ""
    return [f"{what}: {', '.join(listed[:_MOST_NAMES])}{more}"]


def _value_changes(what: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{what} {name}: was {_told(then, name)}, is {_told(now, name)}"
        for name in dict.fromkeys((*then, *now))
        if then.get(name, _ABSENT) != now.get(name, _ABSENT)
    ]


def _told(values: Mapping[str, Any], name: str) -> str:
    return str(values[name]) if name in values else "not there"
