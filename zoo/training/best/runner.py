"""Runs the attempts of a search with the engine of `zoo.finetune`, each until its deadline at the latest."""

from __future__ import annotations

import shutil
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from zoo.config import make_config
from zoo.errors import ZooError
from zoo.events import EpochResult, Note, StepResult, Work
from zoo.runs.open import load_config, open_run
from zoo.runs.run import CHECKPOINT, is_run
from zoo.training.best.attempts import FAILED, OUT_OF_TIME, Attempt, Outcome
from zoo.training.distributed.process_group import SINGLE_PROCESS
from zoo.training.finetune import run_request
from zoo.training.request import TrainingRequest, resolve_names
from zoo.training.resume import find_resume_point, locked_run
from zoo.training.scores import Scores
from zoo.utils.machine import PeakMemory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from zoo.config import FinetuneConfig
    from zoo.data.check.report import DataReport
    from zoo.events import Event, Observer
    from zoo.plugins.registry import Registry
    from zoo.runs.run import RunFolder
    from zoo.training.best.feature_store import FeatureStore
    from zoo.training.best.state import SearchState

_TIMED = "compute features of train"  # the work whose pace is that of predictions


class OutOfTimeError(ZooError):
    """An attempt did not end before its deadline."""


class TrialObserver:
    """Passes on the progress of an attempt, measures its pace, and ends it at its deadline.

    Args:
        observer: Receives progress, but no notes and epochs: a line for each attempt says enough.
        name: Of the attempt.
        deadline: When to end it, by `clock`.
        clock: Returns seconds.
        on_tick: Called at every event.

    Attributes:
        epochs: Finished epochs of fine-tuning.
        work: Seconds between two events of the same work.
    """

    def __init__(
        self, observer: Observer, *, name: str, deadline: float, clock: Callable[[], float], on_tick: Callable[[], None]
    ) -> None:
        self.epochs, self.work = 0, 0.0
        self._doing, self._since = "", 0.0
        self._observer, self._name, self._deadline = observer, name, deadline
        self._clock, self._on_tick = clock, on_tick
        self._first: tuple[float, int] | None = None
        self._last: tuple[float, int] | None = None
        self._images_per_second = 0.0

    def __call__(self, event: Event) -> None:
        """Handles an event.

        Raises:
            OutOfTimeError: The deadline has passed.
        """
        match event:
            case Work():
                self._measure(event)
                self._observer(Work(what=f"{self._name}: {event.what}", done=event.done, total=event.total))
            case StepResult():
                what = f"{self._name}: epoch {event.epoch}"
                self._observer(Work(what=what, done=event.step, total=event.steps))
            case EpochResult():
                self.epochs = max(self.epochs, event.epoch)
                self._images_per_second = self._images_per_second or event.images_per_second
            case _:
                pass
        self._on_tick()
        if self._clock() > self._deadline:
            raise OutOfTimeError("The time of the search is over.")

    @property
    def milliseconds(self) -> float:
        """The time for a photo once it is decoded, in milliseconds; 0 if nothing was measured."""
        if self._first and self._last and self._last[1] > self._first[1]:
            return 1000 * (self._last[0] - self._first[0]) / (self._last[1] - self._first[1])
        return 1000 / self._images_per_second if self._images_per_second else 0.0

    def _measure(self, event: Work) -> None:
        now = self._clock()
        if event.what == self._doing:
            self.work += now - self._since
        self._doing, self._since = event.what, now
        if event.what == _TIMED:  # the first batch includes what is done once
            self._first = self._first or (now, event.done)
            self._last = (now, event.done)


def run_attempt(
    state: SearchState,
    attempt: Attempt,
    *,
    seconds: float,
    report: DataReport,
    pictures: bool,
    observer: Observer,
    registry: Registry,
    features: FeatureStore,
    on_tick: Callable[[], None],
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Returns what came of an attempt, which has the seconds that are given. Its run folder is below `state.folder`.

    An attempt that was stopped goes on from its checkpoint.

    Args:
        state: The search.
        attempt: The attempt.
        seconds: After which it is ended.
        report: The report of the data check.
        pictures: Whether to write the pictures of the run now: on validation photos, where there are no others.
        observer: Receives progress.
        registry: The plugins.
        features: Those of earlier attempts.
        on_tick: Called now and then.
        clock: Returns seconds.
    """
    started, scores, memory = clock(), dict[str, Scores](), PeakMemory()
    watch = TrialObserver(observer, name=attempt.name, deadline=started + seconds, clock=clock, on_tick=on_tick)
    runs = state.trial_folder(state.number)
    try:
        run = _train(
            state,
            attempt,
            scores,
            report=report,
            pictures=pictures,
            observer=watch,
            registry=registry,
            features=features,
        )
    except ZooError as error:
        shutil.rmtree(runs, ignore_errors=True)
        late = isinstance(error, OutOfTimeError)
        return Outcome(
            attempt=attempt,
            status=OUT_OF_TIME if late else FAILED,
            seconds=clock() - started,
            message="" if late else str(error.message),
            epochs=watch.epochs,
        )
    return Outcome(
        attempt=attempt,
        seconds=clock() - started,
        work=watch.work,
        folder=run.path.name,
        memory=memory.read(),
        milliseconds=_find_pace(state, attempt) or watch.milliseconds,
        epochs=0 if attempt.is_probe else watch.epochs,
        best_epoch=0 if attempt.is_probe else int(run.results["best_epoch"]),
        scores=scores,
    )


def _find_pace(state: SearchState, attempt: Attempt) -> float:
    """Returns the milliseconds that the same network took for a photo in its probe; 0 without one."""
    same = (
        each.milliseconds
        for each in state.outcomes
        if each.done
        and each.attempt.is_probe
        and (each.attempt.source, each.attempt.image_size) == (attempt.source, attempt.image_size)
    )
    return next(same, 0.0)


def make_attempt_config(state: SearchState, attempt: Attempt, registry: Registry) -> FinetuneConfig:
    """Returns the configuration of an attempt."""
    source = attempt.source
    values: dict[str, Any] = {**state.values, **attempt.values}
    if attempt.photos is not None:
        values["limit"] = attempt.photos
    if attempt.image_size != source.image_size:
        values["image_size"] = attempt.image_size
    return make_config(
        source.backbone,
        data=state.data,
        weights=source.weights,
        backbone_options=source.options,
        registry=registry,
        **values,
    )


def _find_left(runs: Path) -> Path | None:
    """Returns the run folder of an attempt that was stopped, if it can go on; otherwise deletes what is there."""
    if not runs.exists():
        return None
    for folder in runs.iterdir():
        if is_run(folder) and (folder / CHECKPOINT).is_file():
            return folder
    shutil.rmtree(runs)
    return None


def _train(
    state: SearchState,
    attempt: Attempt,
    scores: dict[str, Scores],
    *,
    report: DataReport,
    pictures: bool,
    observer: Observer,
    registry: Registry,
    features: FeatureStore,
) -> RunFolder:
    runs, point = state.trial_folder(state.number), None
    if (left := _find_left(runs)) is None:
        config = make_attempt_config(state, attempt, registry)
    else:
        point = find_resume_point(open_run(left), lr=None, anyway=False)
        config = load_config(point.run, data=state.data, weights="none")  # the checkpoint has all weights
    names = resolve_names(config, registry=registry)
    request = TrainingRequest(
        config=names.config if point is None else config,
        names=names,
        runs=runs,
        observer=observer,
        processes=SINGLE_PROCESS,
        registry=registry,
        started=time.perf_counter(),
        pictures=pictures,
        resume_point=point,
        report=report,
        trial=True,
        scores=scores,
        shared_features=features.find(attempt),
    )
    with nullcontext() if left is None else locked_run(left):
        return run_request(request)


def report_outcome(outcome: Outcome, *, number: int, left: float, observer: Observer) -> None:
    """Reports what came of an attempt in one line."""
    from zoo.display.formatting import format_duration
    from zoo.training.best.table import describe_result

    text = f"{number}. {outcome.attempt.name}: {describe_result(outcome)} ({format_duration(outcome.seconds)})."
    observer(Note(text=f"{text} {format_duration(max(0.0, left))} left.", warning=outcome.status == FAILED))
