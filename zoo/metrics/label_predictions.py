"""Decisions on labels as counts and rankings, measured with any weights of the photos: once, or for each resample."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from numpy.typing import NDArray

_SEED = 0
_MAX_RESAMPLES, _MIN_RESAMPLES = 1000, 50
_MAX_WORK = 2e8  # decisions that are weighted, over all resamples: a few seconds
_CHUNK = 2**17  # weights at a time: 512 KiB, which caches hold


class Ranking:
    """The photos sorted by the probability of a label, the highest first.

    Args:
        scores: The probabilities ``(N,)``.
        own: Whether each photo has the label, bool ``(N,)``.
    """

    def __init__(self, scores: NDArray[Any], own: NDArray[np.bool_]) -> None:
        self._order = np.argsort(-scores, kind="stable")
        ordered, self._own = scores[self._order], np.flatnonzero(own[self._order])
        last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))  # of each group of equal probabilities
        self._end = last[np.searchsorted(last, self._own)]
        self._found = np.searchsorted(self._own, self._end, side="right") - 1

    def average_precision(self, weights: NDArray[Any]) -> NDArray[np.float64]:
        """Returns the average precision for several weights of the photos ``(B, N)``: ``(B,)``, NaN without positives.

        It is the mean precision at the photos with the label: among all photos of at least their probability.
        """
        ordered = weights[:, self._order]
        own = ordered[:, self._own].astype(np.float64)
        precision = divide(own.cumsum(axis=1)[:, self._found], ordered.cumsum(axis=1)[:, self._end], otherwise=0.0)
        return divide((precision * own).sum(axis=1), own.sum(axis=1), otherwise=math.nan)


class Measured(NamedTuple):
    """What is measured for several weights of the photos.

    Attributes:
        precisions: The average precision of the known labels ``(B, known)``; NaN where no photo with weight has it.
        figures: The five figures by name, ``(B,)`` each.
    """

    precisions: NDArray[np.float64]
    figures: dict[str, NDArray[np.float64]]


class LabelPredictions:
    """Predictions whose figures are measured with any weights of the photos: all at once, or as a resample has them.

    Args:
        probabilities: ``(N, labels)``.
        targets: Which labels each photo has, bool ``(N, labels)``.
        decided: Which labels each photo is decided to have, bool ``(N, labels)``.

    Attributes:
        known: The labels that at least one photo has, int64 ``(known,)``.
    """

    def __init__(self, probabilities: NDArray[Any], targets: NDArray[np.bool_], decided: NDArray[np.bool_]) -> None:
        self.known = np.flatnonzero(targets.any(axis=0))
        self._rankings = [Ranking(probabilities[:, label], targets[:, label]) for label in self.known]
        kinds = (decided & targets, decided & ~targets, ~decided & targets)
        self._kinds = tuple(each.astype(np.float32) for each in kinds)  # exact for counts of up to 2 ** 24 photos
        self._exact = (decided == targets).all(axis=1).astype(np.float32)

    def __len__(self) -> int:
        """Number of photos."""
        return len(self._exact)

    def count(self, weights: NDArray[Any]) -> tuple[NDArray[np.float64], ...]:
        """Returns true positives, false positives and false negatives, ``(B, labels)`` each; weights are ``(B, N)``."""
        return tuple((weights @ each).astype(np.float64) for each in self._kinds)

    def measure(self, weights: NDArray[Any]) -> Measured:
        """Returns the figures for weights ``(B, N)``."""
        (tp, fp, fn), photos = self.count(weights), weights.sum(axis=1, dtype=np.float64)
        precisions = np.stack([each.average_precision(weights) for each in self._rankings], axis=1)
        f1 = divide(2 * tp, 2 * tp + fp + fn, otherwise=math.nan)[:, self.known]
        figures = {
            "mean_ap": _mean_of_defined(precisions),
            "macro_f1": _mean_of_defined(f1),
            "micro_f1": divide(2 * tp.sum(axis=1), (2 * tp + fp + fn).sum(axis=1), otherwise=0.0),
            "exact_match": weights @ self._exact / photos,
            "hamming_loss": (fp + fn).sum(axis=1) / (photos * tp.shape[1]),
        }
        return Measured(precisions, figures)


def resample_photos(photos: int, labels: int, groups: Sequence[Hashable] = ()) -> Iterator[NDArray[np.float32]]:
    """Yields the weights of resampled photos ``(B, N)``: how often each was drawn, with replacement.

    There are a thousand resamples altogether, and fewer of many photos, whose intervals are narrow anyway.

    Args:
        photos: Number of photos.
        labels: Number of labels.
        groups: The group of each photo, if photos of a group are alike: they are then drawn together.
    """
    numbers: dict[Hashable, int] = {}
    group_of = np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=np.int64)
    for weights in _draw(len(numbers) or photos, photos * labels):
        yield weights[:, group_of] if groups else weights


def _draw(count: int, decisions: int) -> Iterator[NDArray[np.float32]]:
    """Yields how often each of `count` photos or groups was drawn, ``(B, count)``."""
    left = int(min(_MAX_RESAMPLES, max(_MIN_RESAMPLES, _MAX_WORK / decisions)))
    draw = np.random.default_rng(_SEED)
    while left > 0:
        rows = min(left, max(1, _CHUNK // count))
        left -= rows
        places = draw.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        yield np.bincount(places.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float32)


def _mean_of_defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the mean of each row without NaN; NaN of rows that have nothing else."""
    return divide(np.nansum(values, axis=1), (~np.isnan(values)).sum(axis=1), otherwise=math.nan)


def divide(numerator: NDArray[Any], denominator: NDArray[Any], *, otherwise: float) -> NDArray[np.float64]:
    """Returns the ratio of two arrays of the same shape, and `otherwise` where the denominator is not positive."""
    ratio: NDArray[np.float64] = np.full(numerator.shape, otherwise)
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio
