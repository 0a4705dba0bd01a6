"""What is said of a classifier's predictions: accuracy with its interval, per-class scores, confusion, calibration."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from statistics import NormalDist, fmean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from zoo.errors import DataError, TrainingError

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE = 0.95
BINS = 15
_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassMetrics:
    """The scores of one class.

    Attributes:
        name: Of the class.
        precision: Of the photos predicted to be of the class, the share that is; 0 where none was.
        recall: Of the photos of the class, the share predicted to be; 0 where there is none.
        f1: Harmonic mean of the two; 0 where both are 0.
        support: How many photos are of the class.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A classifier's predictions on labelled photos, summed up. Every float is finite.

    Attributes:
        classes: Names, in the order of the labels.
        count: How many photos.
        accuracy: Top-1, 0 to 1.
        interval: The accuracy's 95 % interval (`wilson_interval`).
        macro_f1: Mean F1 over the classes that occur or were predicted, as scikit-learn has it.
        calibration_error: See `calibration_error`.
        loss: Mean negative log-likelihood in nats: of the true class's probability, never taken below 1e-12.
        per_class: The scores of each class.
        confusion: Counts; ``confusion[i][j]`` photos of class i were predicted to be of class j.
    """

    classes: tuple[str, ...]
    count: int
    accuracy: float
    interval: tuple[float, float]
    macro_f1: float
    calibration_error: float
    loss: float
    per_class: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values, fit for JSON."""
        return asdict(self)


def evaluate_predictions(probabilities: npt.ArrayLike, labels: npt.ArrayLike, classes: Sequence[str]) -> Evaluation:
    """Compares predictions with labels.

    Args:
        probabilities: ``(N, C)`` float; the rows need not sum to one (sigmoids do not). Of equal ones the first wins.
        labels: ``(N,)`` integers, 0 to C - 1.
        classes: C names.

    Raises:
        DataError: There is nothing to compare.
        TrainingError: A probability is NaN or infinite.
        ValueError: The shapes do not fit each other, or a label is out of range.
    """
    p, y = _checked(probabilities, labels, len(classes))
    predicted = p.argmax(axis=1)
    right = predicted == y
    confusion = np.bincount(y * len(classes) + predicted, minlength=len(classes) ** 2).reshape(len(classes), -1)
    per_class = _per_class(confusion, classes)
    occurring = (confusion.sum(axis=0) + confusion.sum(axis=1)) > 0
    return Evaluation(
        classes=tuple(classes),
        count=len(y),
        accuracy=float(right.mean()),
        interval=wilson_interval(int(right.sum()), len(y)),
        macro_f1=fmean(scores.f1 for scores, occurs in zip(per_class, occurring, strict=True) if occurs),
        calibration_error=calibration_error(p.max(axis=1), right),
        loss=float(np.abs(np.log(np.clip(p[np.arange(len(y)), y], 1e-12, 1))).mean()),
        per_class=per_class,
        confusion=tuple(map(tuple, confusion.tolist())),
    )


def wilson_interval(right: int, count: int) -> tuple[float, float]:
    """Returns the 95 % score interval of a proportion (Wilson 1927, https://doi.org/10.2307/2276774).

    Unlike the textbook's p +- 1.96 s it holds its level for few photos and near 0 and 1, and never leaves [0, 1]
    (Brown, Cai and DasGupta 2001, https://doi.org/10.1214/ss/1009213286).

    Args:
        right: How many succeeded.
        count: Of how many, at least 1.
    """
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    share, shrink = right / count, 1 + z * z / count
    middle = (share + z * z / (2 * count)) / shrink
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / shrink
    # At 0 and at 1 a bound is exact in theory and off by rounding in practice.
    return (0.0 if right == 0 else middle - half), (1.0 if right == count else middle + half)


def calibration_error(confidence: npt.ArrayLike, right: npt.ArrayLike) -> float:
    """Returns the expected calibration error (Guo et al. 2017, https://arxiv.org/abs/1706.04599, equation 3).

    The predictions are sorted by confidence into 15 bins of equal width, open below and closed above; the result is
    the mean gap between accuracy and mean confidence, weighted by the predictions in a bin.

    Args:
        confidence: ``(N,)`` float, 0 to 1: the predicted class's probability.
        right: ``(N,)`` bool: whether the prediction was right.
    """
    p = np.asarray(confidence, dtype=np.float64)
    bins = np.digitize(p, np.linspace(0, 1, BINS + 1)[1:-1], right=True)
    # Within a bin the counts cancel: (n / N) |right / n - sum(p) / n| = |right - sum(p)| / N.
    gaps = np.bincount(bins, weights=np.asarray(right, dtype=np.float64) - p, minlength=BINS)
    return float(np.abs(gaps).sum() / p.size)


def mean_interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Returns the mean of repeated measurements, and the half width of its 95 % Student-t interval.

    Args:
        values: At least one, such as the accuracy of each seed. Of a single one the half width is None.
    """
    if len(values) < 2:
        return fmean(values), None
    from scipy.special import stdtrit  # the quantiles of scipy.stats.t, without the second that scipy.stats takes

    quantile = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2))
    return fmean(values), quantile * stdev(values) / math.sqrt(len(values))


def _checked(probabilities: npt.ArrayLike, labels: npt.ArrayLike, classes: int) -> tuple[_Floats, _Ints]:
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    if p.shape != (len(y), classes):
        raise ValueError(f"probabilities have shape {p.shape}; {len(y)} labels of {classes} classes ask for others")
    if len(y) == 0:
        raise DataError("There are no photos to evaluate.", hint="Give data with at least one readable photo.")
    if not np.issubdtype(y.dtype, np.integer) or y.min() < 0 or y.max() >= classes:
        raise ValueError(f"labels must be integers from 0 to {classes - 1}")
    if broken := int((~np.isfinite(p)).any(axis=1).sum()):
        raise TrainingError(
            f"The network gives NaN or infinite outputs for {broken} of {len(y)} photos.",
            hint="Its training diverged: lower the learning rate, or use --precision fp32.",
        )
    return p, y.astype(np.int64)


def _per_class(confusion: _Ints, classes: Sequence[str]) -> tuple[ClassMetrics, ...]:
    hits, predicted, support = np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1)
    # F1 as 2 TP / (predicted + support): equal to the harmonic mean, and defined wherever either is.
    columns = (_ratio(hits, predicted), _ratio(hits, support), _ratio(2 * hits, predicted + support), support.tolist())
    return tuple(
        ClassMetrics(name=name, precision=precision, recall=recall, f1=f1, support=count)
        for name, precision, recall, f1, count in zip(classes, *columns, strict=True)
    )


def _ratio(part: _Ints, whole: _Ints) -> list[float]:
    return [float(value) for value in np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)]
