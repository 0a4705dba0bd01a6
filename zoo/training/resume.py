"""Resumes a run that was stopped or killed, and refuses to if something that decides the result has changed."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from zoo.errors import ConfigError, RunError
from zoo.events import Note
from zoo.runs.lock import LOCK, locked_folder
from zoo.runs.manifest import MANIFEST, write_manifest
from zoo.runs.open import load_config
from zoo.runs.record import RECORD, PhotoRecord, RunRecord, rename_hardware
from zoo.runs.run import CHECKPOINT, FILES, METRICS, WEIGHTS, RunFolder
from zoo.training.distributed.process_group import SINGLE_PROCESS
from zoo.training.recovery import check_remains, clear_remains
from zoo.utils.files import remove_temporary_files, sync_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from zoo.errors import DivergedError
    from zoo.events import Observer
    from zoo.training.distributed.process_group import ProcessGroup

# Values of the record's ``hardware`` that are decided during training, and on which the rounding of results depends:
# every checkpoint stores them.
DECIDED = ("micro_batch_size", "compile", "compile_reason", "engine")
# Values of the record's ``hardware`` on which the rounding of results depends, too.
_MACHINE = ("device", "gpu", "processor", "threads", "processes")
_MOST_NAMES = 3
_ABSENT = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumePoint:
    """A run to resume.

    Attributes:
        run: The run as it was left, with the configuration with which it is resumed.
        saved: Whether there is a checkpoint; without one, the run starts again.
        restarts: Whether the run diverged, and its checkpoint, which is no good state either, is in the way.
        anyway: Whether to resume even if something has changed.
    """

    run: RunFolder
    saved: bool
    restarts: bool = False
    anyway: bool = False


def find_resume_point(run: RunFolder, *, lr: float | None, anyway: bool) -> ResumePoint:
    """Returns the point from which a run can be resumed.

    Args:
        run: The run as it was left.
        lr: A lower learning rate, for a run that diverged; None keeps that of the run.
        anyway: As in `ResumePoint`; a run that diverged is then resumed without a lower rate, too.

    Raises:
        ConfigError: The rate is not lower, or the run did not diverge.
        RunError: The run is finished, or it diverged, and would do so again.
    """
    config = load_config(run)
    lower = None if lr is None else replace(config, lr=lr).lr  # checked, and parsed if it is text
    restarts = lower is not None and bool(run.record.unresolved_divergence.get("restart"))
    run = _resolve_divergence(run, rate=config.lr, lower=lower, anyway=anyway)
    if run.finished and is_sealed(run.path):
        raise RunError(
            f"The run {run.path} is finished.", hint="To train on from its weights, pass its name with --weights."
        )
    # With a frozen backbone, a run writes no checkpoints.
    saved = config.freeze != "all" and not restarts and (run.path / CHECKPOINT).is_file()
    return ResumePoint(run=run, saved=saved, restarts=restarts, anyway=anyway)


def _resolve_divergence(run: RunFolder, *, rate: float, lower: float | None, anyway: bool) -> RunFolder:
    """Returns a run with the configuration with which it is resumed, which is another one if it diverged."""
    record = run.record
    if not (last := record.unresolved_divergence):
        if lower is not None:
            raise ConfigError(
                f"The run {run.path} did not diverge: it is resumed with its own learning rate.",
                hint="Leave out --lr. To train on from its weights, pass its name with --weights.",
            )
        return run
    if lower is None and not anyway:
        raise RunError(
            f"The run {run.path} diverged, and would again with the same settings: {last.get('message', '')}",
            hint=f"{describe_retry(run.path, record)}; --resume-anyway repeats it with the same rate.",
        )
    if lower is not None and not lower < rate:
        raise ConfigError(
            f"finetune: option 'lr' is {lower:g}, but the run diverged at {rate:g}.",
            hint=f"Pass a lower rate, for example --lr {_lower(rate)}.",
        )
    then = {} if lower is None else {"lr": lower}
    history = (*record.diverged[:-1], {**last, "then": then})
    return RunFolder(run.path, replace(record, config={**record.config, **then}, diverged=history))


def with_divergence(record: RunRecord, error: DivergedError, *, restart: bool) -> RunRecord:
    """Returns the record of a run that diverged.

    Args:
        record: The record so far.
        error: What happened.
        restart: Whether its checkpoint is no good state either.
    """
    entry = {"message": error.message, "lr": record.config["lr"], "restart": restart}
    return replace(record, diverged=(*record.diverged, entry))


def describe_retry(folder: Path, record: RunRecord) -> str:
    """Returns how to resume a run that diverged: ``"'zoo finetune --resume RUN --lr 0.01' goes back to ..."``.

    Args:
        folder: The run folder.
        record: The record of the run.
    """
    last = record.unresolved_divergence
    place = "" if last.get("restart") else describe_place(record)
    way = f"goes back to the state {place}" if place else "starts again, because no good state was saved,"
    return f"'zoo finetune --resume {folder} --lr {_lower(float(last['lr']))}' {way} with a lower rate"


def _lower(rate: float) -> str:
    return f"{rate / 10 if rate <= 1 else 0.01:.1g}"


def is_sealed(folder: Path) -> bool:
    """Returns whether the folder of a finished run is complete: a run may be killed while it is being completed."""
    return (folder / MANIFEST).exists()


def seal(folder: Path) -> None:
    """Completes the folder of a finished run: deletes the checkpoint and temporary files, then writes the manifest.

    Raises:
        RunError: The folder cannot be written to.
    """
    sync_files(folder, (RECORD, WEIGHTS, METRICS))  # before the checkpoint is deleted, which could restore them
    for name in (CHECKPOINT, LOCK):
        (folder / name).unlink(missing_ok=True)
    remove_temporary_files(folder, FILES)
    write_manifest(folder)


@contextmanager
def locked_run(folder: Path, processes: ProcessGroup = SINGLE_PROCESS) -> Iterator[None]:
    """Locks a run folder for a block in which the run is trained, and removes what a killed process left in it.

    Raises:
        RunError: Another process is training this run, or the folder cannot be written to.
    """
    if not processes.is_main:
        yield
        return
    with locked_folder(folder):
        remove_temporary_files(folder, FILES)
        yield


def resume_record(
    point: ResumePoint, now: RunRecord, photos: PhotoRecord, *, observer: Observer, processes: ProcessGroup
) -> tuple[RunRecord, float]:
    """Returns the record of a resumed run, and the seconds that it had trained when it was last saved.

    Args:
        point: The run to resume.
        now: The record of a run that started now (`zoo.training.record.start_record`).
        photos: The photos of a run that started now.
        observer: Receives warnings about changes.
        processes: The processes that train together.

    Raises:
        RunError: Data, configuration or code has changed, and `point.anyway` is false; or a file of the run is damaged.
    """
    from zoo.training.checkpoint import describe_checkpoint

    run, checkpoint = point.run, None
    if point.saved:
        checkpoint = processes.broadcast(lambda: describe_checkpoint(run.path))
    config = run.config if checkpoint is None else {**checkpoint["config"], **run.record.overrides}
    then = replace(run.record, config=config)
    found = find_changes(then, replace(now, config=run.config), run.photos(), photos)
    if found and not point.anyway:
        listed = "\n".join(f"  {change}" for change in found)
        raise RunError(
            f"{run.path} cannot be resumed: this has changed since it was started:\n{listed}",
            hint="Undo the changes, or pass --resume-anyway; the record then lists them.",
        )
    if checkpoint is None:
        processes.broadcast(partial(clear_remains, run.path))
    else:
        processes.broadcast(partial(check_remains, run.path, checkpoint, observer))
    decided = {"micro_batch_size": None} if checkpoint is None else rename_hardware(checkpoint["machine"])
    hardware = {name: value for name, value in run.record.hardware.items() if name not in DECIDED} | decided
    saved = {} if checkpoint is None else {name: checkpoint[name] for name in ("epoch", "step")}
    record = replace(run.record, status="training", hardware=hardware, saved=saved)
    if found:
        observer(Note(text=f"Changed since the run was started: {'; '.join(found)}.", warning=True))
        change = {"when": datetime.now(UTC).isoformat(timespec="seconds"), "what": found}
        record = replace(
            record,
            classes=now.classes,
            data=now.data,
            packages=now.packages,
            parts=now.parts,
            plugins=now.plugins,
            sources=now.sources,
            changed=(*record.changed, change),
        )
    _warn_of_other_machine(run.record.hardware, now.hardware, observer)
    return record, 0.0 if checkpoint is None else float(checkpoint["seconds"])


def describe_place(record: RunRecord) -> str:
    """Returns the point at which a run was last saved: ``"after step 3 of epoch 2"``; empty if it was not saved."""
    if not record.saved:
        return ""
    step, epoch = record.saved["step"], record.saved["epoch"]
    return f"after step {step} of epoch {epoch + 1}" if step else f"after epoch {epoch}"


def find_changes(then: RunRecord, now: RunRecord, photos_then: PhotoRecord, photos_now: PhotoRecord) -> list[str]:
    """Returns the changes that decide the result of a run: ``"option lr: was 0.1, is 0.2"``.

    Args:
        then: The record of the run when it was started.
        now: The record of a run that started now.
        photos_then: The photos of the run when it was started.
        photos_now: The photos of a run that started now.
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
        found.append(f"classes: were {', '.join(then.classes)}, are {', '.join(now.classes)}")
    for split in photos_now.names:
        before, after = photos_then.by_name(split), photos_now.by_name(split)
        found += _list_names(f"new {split} photos", after.keys() - before.keys())
        found += _list_names(f"missing {split} photos", before.keys() - after.keys())
        both = before.keys() & after.keys()
        changed = {name for name in both if before[name] != after[name]}
        found += _list_names(f"{split} photos with other content or another label", changed)
    return found or [f"fingerprint of the data: was {then.data.fingerprint[:12]}, is {now.data.fingerprint[:12]}"]


def _list_names(what: str, names: Iterable[str]) -> list[str]:
    listed = sorted(names)
    if not listed:
        return []
    more = f" and {len(listed) - _MOST_NAMES} more" if len(listed) > _MOST_NAMES else ""
    return [f"{what}: {', '.join(listed[:_MOST_NAMES])}{more}"]


def _value_changes(what: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{what} {name}: was {then.get(name, 'missing')}, is {now.get(name, 'missing')}"
        for name in dict.fromkeys((*then, *now))
        if then.get(name, _ABSENT) != now.get(name, _ABSENT)
    ]


def _warn_of_other_machine(then: Mapping[str, Any], now: Mapping[str, Any], observer: Observer) -> None:
    if other := [f"{name} {then.get(name)} -> {now.get(name)}" for name in _MACHINE if then.get(name) != now.get(name)]:
        text = f"The run was started on another machine ({', '.join(other)}): the last digits of results may differ."
        observer(Note(text=text, warning=True))
