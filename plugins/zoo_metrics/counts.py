"""Metrics of the predicted classes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

import zoo
from zoo.metrics.intervals import QUANTILE, wilson_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

_UNDEFINED = float("nan")


class _Counts(NamedTuple):
    """Numbers of photos by class, float64 ``(C,)``: of a class, predicted as it, and both."""

    support: NDArray[np.float64]
    predicted: NDArray[np.float64]
    hits: NDArray[np.float64]


def accuracy(request: zoo.MetricRequest) -> dict[str, zoo.MetricValue]:
    """Returns the accuracy with its Wilson interval; of equally probable classes the first counts as more probable."""
    p, targets, k = request.probabilities, request.targets, request.options.k
    own = p[np.arange(len(p)), targets][:, None]
    before = np.arange(p.shape[1]) < targets[:, None]
    rank = ((p > own) | ((p == own) & before)).sum(axis=1)
    right = int((rank < k).sum())
    return {"accuracy": zoo.MetricValue(value=right / len(p), interval=wilson_interval(right, len(p)))}


def balanced_accuracy(request: zoo.MetricRequest) -> dict[str, zoo.MetricValue]:
    """Returns the mean recall of the classes with photos.

    Its interval combines the Wilson intervals of the recalls as their mean varies, by the MOVER method (Zou and Donner
    2008, https://doi.org/10.1002/sim.3095): unlike the textbook's, it has a width where all recalls are 0 or 1.
    """
    recalls = [value for value in recall(request).values() if value.interval is not None]
    mean = math.fsum(each.value for each in recalls) / len(recalls)
    below, above = (
        math.sqrt(math.fsum((each.value - each.interval[side]) ** 2 for each in recalls if each.interval))
        / len(recalls)
        for side in (0, 1)
    )
    return {"balanced_accuracy": zoo.MetricValue(value=mean, interval=(max(0.0, mean - below), min(1.0, mean + above)))}


def recall(request: zoo.MetricRequest) -> dict[str, zoo.MetricValue]:
    """Returns the recall of each class with its Wilson interval; NaN without photos of the class."""
    counts = _count(request)
    rows = zip(request.classes, counts.hits.tolist(), counts.support.tolist(), strict=True)
    return {
        f"recall/{name}": zoo.MetricValue(value=hits / support, interval=wilson_interval(int(hits), int(support)))
        if support
        else zoo.MetricValue(value=_UNDEFINED)
        for name, hits, support in rows
    }


def macro_f1(request: zoo.MetricRequest) -> dict[str, zoo.MetricValue]:
    """Returns the mean F1 of the classes that occur or were predicted.

    Its interval is that of the delta method (Takahashi et al. 2022, https://doi.org/10.1007/s10489-021-02635-5), and
    missing where no photo moves the mean, as in perfect predictions.
    """
    support, predicted, hits = _count(request)
    both = support + predicted
    occurring = both > 0
    count, classes = len(request.targets), int(occurring.sum())
    value = float((2 * hits[occurring] / both[occurring]).sum() / classes)
    # The derivative of the mean by the number of photos of one class that are predicted as one other.
    share = np.divide(2 * hits, both**2, out=np.zeros_like(both), where=occurring)
    gain = np.divide(2, both, out=np.zeros_like(both), where=occurring)
    targets, guesses = request.targets, request.probabilities.argmax(axis=1)
    slope = (np.where(targets == guesses, gain[targets], 0) - share[targets] - share[guesses]) / classes
    half = QUANTILE * math.sqrt(count * float((slope**2).mean()))
    interval = (max(0.0, value - half), min(1.0, value + half)) if half else None
    return {"macro_f1": zoo.MetricValue(value=value, interval=interval)}


def _count(request: zoo.MetricRequest) -> _Counts:
    targets, guesses = request.targets, request.probabilities.argmax(axis=1)
    columns = (targets, guesses, targets[targets == guesses])
    return _Counts(*(np.bincount(each, minlength=len(request.classes)).astype(np.float64) for each in columns))
