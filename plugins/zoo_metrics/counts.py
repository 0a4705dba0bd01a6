"""Metrics of the predicted classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

import zoo
from zoo.metrics.classification import true_class_ranks
from zoo.metrics.intervals import influence_interval, mean_of_proportions, wilson_interval

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
    k, count = request.options.k, len(request.targets)
    right = int((true_class_ranks(request.probabilities, request.targets) < k).sum())
    name = "accuracy" if k == 1 else f"top_{k}_accuracy"
    return {name: zoo.MetricValue(value=right / count, interval=wilson_interval(right, count))}


def balanced_accuracy(request: zoo.MetricRequest) -> dict[str, zoo.MetricValue]:
    """Returns the mean recall of the classes with photos."""
    counts = _count(request)
    present = counts.support > 0
    mean, interval = mean_of_proportions(counts.hits[present].tolist(), counts.support[present].tolist())
    return {"balanced_accuracy": zoo.MetricValue(value=mean, interval=interval)}


def recall(request: zoo.MetricRequest) -> dict[str, zoo.MetricValue]:
    """Returns the recall of each class with its Wilson interval; NaN without photos of the class."""
    counts = _count(request)
    return _shares("recall", request.classes, counts.hits, counts.support)


def precision(request: zoo.MetricRequest) -> dict[str, zoo.MetricValue]:
    """Returns the precision of each class with its Wilson interval; NaN if no photo was predicted as the class."""
    counts = _count(request)
    return _shares("precision", request.classes, counts.hits, counts.predicted)


def cohens_kappa(request: zoo.MetricRequest) -> dict[str, zoo.MetricValue]:
    """Returns how much more often predictions and classes agree than independent ones with the same frequencies would.

    Its interval is that of the delta method (Fleiss, Cohen and Everitt 1969, https://doi.org/10.1037/h0028106). Kappa
    is not defined if all photos are of one class and predicted as it.
    """
    support, predicted, hits = _count(request)
    count = len(request.targets)
    agreed, expected = float(hits.sum()) / count, float(support @ predicted) / count**2
    if expected == 1:
        return {"cohens_kappa": zoo.MetricValue(value=_UNDEFINED)}
    value = 1 - (1 - agreed) / (1 - expected)
    targets, guesses = request.targets, request.probabilities.argmax(axis=1)
    more_agreed = (targets == guesses) - agreed
    more_expected = (predicted[targets] + support[guesses]) / count - 2 * expected
    influences = more_agreed / (1 - expected) - (1 - agreed) * more_expected / (1 - expected) ** 2
    return {"cohens_kappa": zoo.MetricValue(value=value, interval=influence_interval(value, influences, low=-1.0))}


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
    interval = influence_interval(value, count * slope)
    return {"macro_f1": zoo.MetricValue(value=value, interval=interval)}


def _shares(
    what: str, classes: tuple[str, ...], hits: NDArray[np.float64], totals: NDArray[np.float64]
) -> dict[str, zoo.MetricValue]:
    """Returns a share of each class with its Wilson interval, NaN where there is nothing to share."""
    rows = zip(classes, hits.tolist(), totals.tolist(), strict=True)
    return {
        f"{what}/{name}": zoo.MetricValue(value=own / total, interval=wilson_interval(int(own), int(total)))
        if total
        else zoo.MetricValue(value=_UNDEFINED)
        for name, own, total in rows
    }


def _count(request: zoo.MetricRequest) -> _Counts:
    targets, guesses = request.targets, request.probabilities.argmax(axis=1)
    columns = (targets, guesses, targets[targets == guesses])
    return _Counts(*(np.bincount(each, minlength=len(request.classes)).astype(np.float64) for each in columns))
