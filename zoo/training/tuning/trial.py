"""One trial: a training that reports every epoch to the study, and stops early where it is no use to go on."""

from __future__ import annotations

import math
import shutil
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zoo.errors import DataError, DivergedError
from zoo.events import EpochResult, Note, Started, StepResult, Work
from zoo.runs.run import read_run
from zoo.training.finetune import train_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from optuna.trial import Trial

    from zoo.config import FinetuneConfig
    from zoo.events import Event, Observer
    from zoo.plugins.registry import Registry
    from zoo.training.tuning.objective import Objective
    from zoo.training.tuning.study import SharedStudy

PHOTOS = "photos"  # attribute of the study: the fingerprint of the photos that all trials train on
FINISHED, PRUNED, FAILED, RUNNING, WAITING = "finished", "pruned", "failed", "running", "waiting"


class _Pruned(Exception):  # noqa: N818  it ends a trial, and is no error
    """The trial is worse than the median of earlier ones at the same epoch."""


class OutOfTime(Exception):  # noqa: N818
    """The time for the study is over while a trial is running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a trial ended.

    Attributes:
        state: `FINISHED`, `PRUNED` or `FAILED`.
        value: The value of its best epoch; None if there is none.
        epochs: The last epoch.
        seconds: Its duration.
        reason: Why it did not finish; otherwise empty.
        error: The error that ended it, or None.
    """

    state: str
    value: float | None
    epochs: int
    seconds: float
    reason: str = ""
    error: Exception | None = None


@dataclass(slots=True, kw_only=True)
class TrialObserver:
    """Receives the events of a trial's training: reports epochs to the study, and passes progress on.

    Attributes:
        trial: The trial.
        study: Its study.
        objective: What is optimised.
        observer: Receives progress and warnings.
        runs: The folder in which the run is created.
        prunes: Whether the trial may be pruned.
        deadline: When to stop by `time.monotonic`; None for never.
        epoch: The last epoch.
        value: The value of the best epoch so far.
    """

    trial: Trial
    study: SharedStudy
    objective: Objective
    observer: Observer
    runs: Path
    prunes: bool = True
    deadline: float | None = None
    epoch: int = 0
    value: float = math.nan
    _epochs: int = 0
    _over: bool = field(default=False)

    def __call__(self, event: Event) -> None:
        """Handles one event.

        Raises:
            DataError: The photos differ from those of other trials.
        """
        if self._over:  # what a training says while it is being stopped
            return
        match event:
            case Started():
                self._epochs = event.epochs
                self._check_photos(event)
            case EpochResult():
                self._on_epoch(event)
            case StepResult():
                done, total = (event.epoch - 1) * event.steps + event.step, self._epochs * event.steps
                self._report(f"epoch {event.epoch} of {self._epochs}", done, total)
            case Work():
                self._report(event.what, event.done, event.total)
            case Note(warning=True):
                self.observer(event)
        if self.deadline is not None and time.monotonic() > self.deadline:
            self._stop(OutOfTime())

    def _report(self, what: str, done: int, total: int | None) -> None:
        self.observer(Work(what=f"trial {self.trial.number + 1}: {what}", done=done, total=total))

    def _on_epoch(self, result: EpochResult) -> None:
        value = self.objective.measure(result)
        self.epoch = result.epoch
        if result.best:
            self.value = value
        self.trial.report(value, step=result.epoch)
        if self.prunes and result.epoch < self._epochs and self.trial.should_prune():
            self._stop(_Pruned())

    def _stop(self, reason: Exception) -> None:
        self._over = True
        raise reason

    def _check_photos(self, started: Started) -> None:
        found, study = read_run(self.runs / started.run).fingerprint, self.study.study
        known = study.user_attrs.get(PHOTOS)
        if known is None:
            study.set_user_attr(PHOTOS, found)
        elif known != found:
            raise DataError(
                f"The photos of {started.data} are not those that other trials of the study '{study.study_name}' "
                "trained on.",
                hint="Were photos added or removed? Start a new study: pass another name with --study.",
            )


def run_trial(
    config: FinetuneConfig,
    watch: TrialObserver,
    *,
    registry: Registry,
    group: str,
    failures: tuple[type[Exception], ...],
) -> Outcome:
    """Trains a trial and returns how it ended; its run folder is below ``watch.runs`` if it finished.

    Args:
        config: The configuration of the trial.
        watch: Its observer.
        registry: The plugins.
        group: The name under which trackers show the trials together.
        failures: Errors that end the trial, but not the study.

    Raises:
        OutOfTime: The deadline has passed.
        KeyboardInterrupt: A signal ends the process.
        ZooError: Another error.
    """
    started = time.monotonic()

    def end(state: str, reason: str = "", error: Exception | None = None) -> Outcome:
        value = None if math.isnan(watch.value) else watch.value
        if state == FINISHED and value is None:
            state, reason = FAILED, f"{watch.objective.name} has no value"
        seconds = time.monotonic() - started
        return Outcome(state=state, value=value, epochs=watch.epoch, seconds=seconds, reason=reason, error=error)

    try:
        train_config(
            config, runs=watch.runs, observer=watch, registry=registry, group=group, pictures=False, trial=True
        )
    except _Pruned:
        return end(PRUNED, f"after epoch {watch.epoch}")
    except DivergedError:  # a search has to learn that these values are bad, not only that something failed
        return end(PRUNED, "diverged")
    except failures as error:
        return end(FAILED, str(error).partition("\n")[0], error)
    return end(FINISHED)


def trial_folder(study: Path, number: int) -> Path:
    """Returns the folder of a trial in that of its study, in which its run folder is created."""
    return study / "trials" / str(number + 1)


def remove_runs(study: Path, *, keep: Callable[[int], bool]) -> None:
    """Deletes the run folders of trials, except those whose number is to be kept."""
    for folder in study.glob("trials/*"):
        if folder.name.isdecimal() and not keep(int(folder.name) - 1):
            shutil.rmtree(folder, ignore_errors=True)  # a file that another program has open stays until the next time
