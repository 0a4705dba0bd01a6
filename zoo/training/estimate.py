"""Estimates how long a training takes on this machine, from its first batches and steps."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from zoo.config import AUTO
from zoo.events import Estimate

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo.events import Observer, StepResult
    from zoo.training.job import Job

_SECONDS_TO_MEASURE = 2.0
_MIN_SECONDS = 5.0  # shorter work is not announced
_FORWARD_SHARE = 1 / 3  # of a training step: the backward pass takes twice as long as the forward pass


class FeatureEstimate:
    """Reports once how long the backbone takes for all photos that it runs on, from its first batches.

    Args:
        job: The training, whose photos are loaded. Time counts from now on.
    """

    def __init__(self, job: Job) -> None:
        self._observer = job.observer
        self._photos = _feature_photos(job)
        self._started, self._reported = time.perf_counter(), False

    def __call__(self, done: int) -> None:
        """Reports if enough is measured.

        Args:
            done: Photos done so far.
        """
        elapsed = time.perf_counter() - self._started
        if self._reported or elapsed < _SECONDS_TO_MEASURE:
            return
        self._reported = True
        seconds = elapsed / done * self._photos
        _report(self._observer, Estimate(seconds=seconds, work=f"{self._photos:,} photos once through the backbone"))


def estimate_steps(job: Job) -> Callable[[StepResult], None]:
    """Returns an observer of steps that also reports, once, how long the steps and all evaluations take."""
    started: float | None = None
    reported = False

    def observe(result: StepResult) -> None:
        nonlocal started, reported
        job.observer(result)
        now = time.perf_counter()
        started = now if started is None else started
        if not reported and now - started >= _SECONDS_TO_MEASURE:
            reported = True
            seconds = result.seconds_left * (1 + _evaluation_share(job))
            work = f"epochs {result.epoch} to {job.config.epochs}, {result.steps:,} steps each"
            _report(job.observer, Estimate(seconds=seconds, work=work, at_most=job.config.patience is not None))

    return observe


def _report(observer: Observer, estimate: Estimate) -> None:
    if estimate.seconds >= _MIN_SECONDS:
        observer(estimate)


def _feature_photos(job: Job) -> int:
    """Returns how often the backbone runs on a photo to compute the features of a training."""
    counts, config = job.record.data.counts, job.config
    if config.freeze == "all":
        return sum(counts.values())
    mirrored = counts["val"] if config.hflip == AUTO else 0
    return counts["train"] + counts["val"] + mirrored


def _evaluation_share(job: Job) -> float:
    """Returns the time of the evaluations, as a share of that of all training steps."""
    counts, epochs = job.record.data.counts, job.config.epochs
    evaluated = math.prod(job.preprocess.size) * ((epochs + 1) * counts["val"] + counts.get("test", 0))
    return _FORWARD_SHARE * evaluated / (math.prod(job.train_preprocess.size) * epochs * counts["train"])
