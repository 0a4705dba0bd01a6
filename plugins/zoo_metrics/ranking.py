"""Metrics of how the probabilities of a class rank the photos: those of the class should come first.

Each is the mean over the classes of which some photos are and some are not. For two classes whose probabilities sum to
one, both areas under the ROC curve are the same. The intervals are those of the delta method: the influence of a photo
on each class is known in closed form, and so is that on the mean, for the same photos.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import zoo
from zoo.metrics.intervals import influence_interval

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    # The value of a class, and the influence of each photo on it, float64 (N,), of scores (N,) and hits (N,).
    Ranking = Callable[[NDArray[np.float32], NDArray[np.bool_]], tuple[float, NDArray[np.float64]]]


def roc_auc(request: zoo.MetricRequest) -> dict[str, zoo.MetricValue]:
    """Returns the mean over the classes of the area under the ROC curve, each class against all others.

    It is the probability that a photo of the class gets a higher probability than another photo; equal ones count half.
    """
    return {"roc_auc": _mean_over_classes(request, _area_under_roc)}


def average_precision(request: zoo.MetricRequest) -> dict[str, zoo.MetricValue]:
    """Returns the mean over the classes of the average precision, the area under the curve of precision and recall.

    It is the mean, over the photos of a class, of the precision among the photos with at least the same probability.
    """
    return {"average_precision": _mean_over_classes(request, _average_precision)}


def _mean_over_classes(request: zoo.MetricRequest, ranking: Ranking) -> zoo.MetricValue:
    values, influences = [], np.zeros(len(request.targets))
    for label in range(len(request.classes)):
        hits = request.targets == label
        if 0 < hits.sum() < len(hits):
            value, own = ranking(request.probabilities[:, label], hits)
            values.append(value)
            influences += own
    if not values:
        return zoo.MetricValue(value=float("nan"))
    mean = float(np.mean(values))
    return zoo.MetricValue(value=mean, interval=influence_interval(mean, influences / len(values)))


def _area_under_roc(scores: NDArray[np.float32], hits: NDArray[np.bool_]) -> tuple[float, NDArray[np.float64]]:
    """The influences are those of DeLong et al. 1988 (https://doi.org/10.2307/2531595)."""
    positives, negatives = np.sort(scores[hits]), np.sort(scores[~hits])
    # Of each photo: the share of the photos of the other kind that it is on the right side of.
    right = np.empty(len(scores))
    right[hits] = _share_below(negatives, scores[hits])
    right[~hits] = 1 - _share_below(positives, scores[~hits])
    value = float(right[hits].mean())
    influences = np.where(hits, len(hits) / len(positives), len(hits) / len(negatives)) * (right - value)
    return value, influences


def _share_below(ordered: NDArray[np.float32], scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns the share of some sorted scores that is lower than each score; equal ones count half."""
    low, high = (np.searchsorted(ordered, scores, side=side) for side in ("left", "right"))
    return (low + high) / (2 * len(ordered))


def _average_precision(scores: NDArray[np.float32], hits: NDArray[np.bool_]) -> tuple[float, NDArray[np.float64]]:
    count, positives = len(hits), int(hits.sum())
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    # Photos with the same score count together: each has the numbers of the last of them.
    last = np.searchsorted(-ranked, -ranked, side="right")
    found = np.cumsum(hits[order])[last - 1]
    precision = found / last
    own = hits[order]
    value = float(precision[own].sum() / positives)
    # A photo changes the precision at every photo of the class that is ranked with it or below it. Summed from below:
    first = np.searchsorted(-ranked, -ranked, side="left")
    gain, loss = (_sum_from(np.where(own, each / last, 0))[first] for each in (1.0, precision))
    influences = np.empty(count)
    influences[order] = count / positives * (own * (precision - value) + np.where(own, gain, 0) - loss)
    return value, influences


def _sum_from(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the sum of each value and all after it."""
    return values[::-1].cumsum()[::-1]
