"""The reliability of a model on labelled photos: its probabilities before and after calibration, and its sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.metrics.calibration import ReliabilityReport, SetCoverage
from zoo.metrics.conformal import find_sets
from zoo.metrics.intervals import wilson_interval
from zoo.metrics.reliability import measure_reliability
from zoo.metrics.temperature import remove_temperature

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from zoo.metrics.calibration import Calibration, PredictionSets

COVERAGES = (0.9, 0.95)  # that are checked


def report_reliability(
    probabilities: NDArray[Any], targets: NDArray[Any], calibration: Calibration | None
) -> ReliabilityReport:
    """Measures the probabilities of a model, before and after their calibration, and its prediction sets.

    Args:
        probabilities: Those that the model returns, ``(N, classes)``.
        targets: As for `measure_reliability`.
        calibration: That of the model, if it has one.
    """
    before, sets = None, tuple[SetCoverage, ...]()
    if calibration is not None and calibration.changes:
        before = measure_reliability(remove_temperature(probabilities, calibration), targets)
    if calibration is not None and calibration.sets is not None and targets.ndim == 1:
        sets = tuple(_check_sets(probabilities, targets, calibration.sets))
    return ReliabilityReport(calibrated=measure_reliability(probabilities, targets), uncalibrated=before, sets=sets)


def _check_sets(probabilities: NDArray[Any], labels: NDArray[Any], sets: PredictionSets) -> Iterator[SetCoverage]:
    for coverage in COVERAGES:
        if sets.rank(coverage) > sets.photos:
            continue
        found = find_sets(probabilities, sets.score, sets.quantile(coverage))
        hits = int(found[np.arange(len(labels)), labels].sum())
        yield SetCoverage(
            promised=coverage,
            measured=hits / len(labels),
            interval=wilson_interval(hits, len(labels)),
            size=float(found.sum(axis=1).mean()),
        )
