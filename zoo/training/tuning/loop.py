"""Runs the trials of one process until there are enough, or the time is over."""

from __future__ import annotations

import math
import time
from statistics import fmean
from typing import TYPE_CHECKING

from optuna.trial import TrialState

from zoo.errors import (
    ConfigError,
    PluginError,
    PredictionError,
    TrainingError,
    UnknownNameError,
    WeightsError,
    ZooError,
)
from zoo.events import Note, TrialResult
from zoo.training.parts import solves_head
from zoo.training.request import resolve_names
from zoo.training.tuning.study import REASON
from zoo.training.tuning.trial import (
    FAILED,
    PRUNED,
    Outcome,
    OutOfTime,
    TrialObserver,
    remove_runs,
    run_trial,
    trial_folder,
)

if TYPE_CHECKING:
    from optuna.trial import Trial

    from zoo.events import Observer
    from zoo.training.tuning.plan import Plan
    from zoo.training.tuning.study import SharedStudy

_MAX_FAILURES = 3  # trials in a row that fail, after which there is no use to go on
# Errors that other values may not have. A full disk or missing photos end the study.
_FAILURES = (ConfigError, PluginError, PredictionError, TrainingError, UnknownNameError, WeightsError)


class TrialLoop:
    """Runs trials until there are enough, or the time is over."""

    def __init__(
        self, plan: Plan, shared: SharedStudy, *, trials: int | None, deadline: float | None, observer: Observer
    ) -> None:
        self._plan = plan
        self._shared = shared
        self._trials = trials
        self._deadline = deadline
        self._observer = observer
        self._durations: list[float] = []  # of this process's trials, in seconds
        self._failures = 0  # in a row

    def run(self) -> None:
        """Runs the trials of this process."""
        shared, plan = self._shared, self._plan
        if not shared.trials():
            shared.study.enqueue_trial(plan.first_values(), skip_if_exists=True)
        while not self._is_over():
            for number, again in shared.fail_dead_trials():
                self._remove_runs()
                fate = "its values are tried again" if again else "its values are not tried again"
                self._observer(Note(text=f"The process of trial {number + 1} was killed; {fate}.", warning=True))
            if (trial := shared.start_trial(self._trials)) is None:
                return
            self._run_trial(trial)

    def _is_over(self) -> bool:
        """Returns whether no further trial would end in time, judged by the shortest one so far."""
        expected = min(self._durations, default=0.0)
        return self._deadline is not None and time.monotonic() + expected >= self._deadline

    def _run_trial(self, trial: Trial) -> None:
        shared = self._shared
        with shared.worker.working_on(trial):
            try:
                outcome = self._train(trial)
            except OutOfTime:
                self._give_up(trial, "the time was over", again=True)
                return
            except KeyboardInterrupt:
                self._give_up(trial, "interrupted", again=True)
                raise
            except ZooError as error:
                self._give_up(trial, error.message)
                raise
            self._tell(trial, outcome)
        self._remove_runs()
        self._report(trial, outcome)
        self._failures = self._failures + 1 if outcome.state == FAILED else 0
        if outcome.error is not None and self._failures >= _MAX_FAILURES:
            raise outcome.error

    def _give_up(self, trial: Trial, reason: str, *, again: bool = False) -> None:
        trial.set_user_attr(REASON, reason)
        self._shared.fail(trial.number, again=again)
        self._remove_runs()

    def _train(self, trial: Trial) -> Outcome:
        plan, shared = self._plan, self._shared
        try:
            config = plan.objective.prepare(plan.config(trial.params))
            names = resolve_names(config, registry=plan.registry, runs=plan.runs)
        except ZooError as error:  # values that do not go together
            return Outcome(state=FAILED, value=None, epochs=0, seconds=0.0, reason=error.message, error=error)
        runs = trial_folder(shared.folder, trial.number)
        watch = TrialObserver(
            trial=trial,
            study=shared,
            objective=plan.objective,
            observer=self._observer,
            runs=runs,
            prunes=not solves_head(config, names.parts.optimizer.spec),  # which has one epoch
            deadline=self._deadline,
        )
        return run_trial(config, watch, registry=plan.registry, group=f"tune {shared.name}", failures=_FAILURES)

    def _tell(self, trial: Trial, outcome: Outcome) -> None:
        for name, value in (("seconds", outcome.seconds), ("epochs", outcome.epochs), (REASON, outcome.reason)):
            trial.set_user_attr(name, value)
        if outcome.state == FAILED:
            self._shared.fail(trial.number)
            return
        self._durations.append(outcome.seconds)
        if outcome.state == PRUNED:
            self._shared.study.tell(trial, state=TrialState.PRUNED)
        else:
            self._shared.study.tell(trial, outcome.value)

    def _remove_runs(self) -> None:
        """Deletes the run folders on this machine of all trials that have ended, except the best one's."""
        trials, best = self._shared.trials(), self._shared.best()
        unfinished = {each.number for each in trials if not each.state.is_finished()}
        keep = unfinished if best is None else {*unfinished, best.number}
        remove_runs(self._shared.folder, keep=keep.__contains__)

    def _report(self, trial: Trial, outcome: Outcome) -> None:
        best = self._shared.best()
        self._observer(
            TrialResult(
                trial=trial.number + 1,
                done=self._shared.counted(),
                trials=self._trials,
                state=outcome.state,
                value=outcome.value,
                best=best is not None and best.number == trial.number,
                best_value=None if best is None else best.value,
                values=self._plan.in_order(trial.params),
                epochs=outcome.epochs,
                seconds=outcome.seconds,
                seconds_left=self._estimate(),
                reason=outcome.reason,
            )
        )

    def _estimate(self) -> float | None:
        """Returns how many seconds are left for this process, by the mean duration of its trials."""
        left = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        if self._trials is None or not self._durations:
            return left
        running = len(self._shared.trials(TrialState.RUNNING))
        rounds = math.ceil(max(0, self._trials - self._shared.counted() - running) / (running + 1))
        needed = rounds * fmean(self._durations)
        return needed if left is None else min(needed, left)
