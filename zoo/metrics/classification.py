"""Metrics of a classifier's predictions: accuracy with its interval, per-class scores, confusion, calibration."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from zoo.errors import DataError, TrainingError
from zoo.metrics.costs import decide_classes
from zoo.metrics.intervals import mean_of_proportions, wilson_interval
from zoo.utils.markup import bar, block, heading, line, pairs, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zoo.metrics.calibration import ReliabilityReport
    from zoo.metrics.costs import CostDecision
    from zoo.metrics.slices import Slice
    from zoo.plugins.specs import MetricValue

BINS = 15
TOP = 5  # classes of the second accuracy where there are many
_MANY_CLASSES = 10  # more have it
_UNEVEN = 2  # ratio of the largest class to the smallest
_BLOCK = 1 << 24  # probabilities compared at a time
_SHOWN_CLASSES = 20  # in a notebook
MAX_MATRIX, MAX_CONFUSIONS = 100, 100  # classes of the matrix that `to_dict` returns, and pairs
_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassMetrics:
    """The scores of one class.

    Attributes:
        name: The name of the class.
        precision: The share of the photos predicted as this class that belong to it; 0 if none was.
        recall: The share of the photos of this class that were predicted as it; 0 if there are none.
        f1: Harmonic mean of precision and recall; 0 if both are 0.
        support: Number of photos of the class.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """The photos of one class that were predicted as one other.

    Attributes:
        true: The name of their class.
        predicted: The name of the predicted class.
        count: Number of these photos.
        support: Number of all photos of the class.
    """

    true: str
    predicted: str
    count: int
    support: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The metrics of a classifier on labelled photos. Every float but those of `metrics` is finite.

    Attributes:
        classes: Class names, in the order of the labels.
        count: Number of photos.
        accuracy: Top-1, 0 to 1.
        interval: The accuracy's 95 % interval (`wilson_interval`).
        balanced_accuracy: Mean recall of the classes with photos.
        balanced_interval: Its 95 % interval (`zoo.metrics.intervals.mean_of_proportions`).
        top_5_accuracy: Share of photos whose class is among the five most probable ones; None for up to ten classes.
        top_5_interval: Its 95 % interval.
        macro_f1: Mean F1 over the classes that occur or were predicted, as in scikit-learn.
        calibration_error: The expected calibration error (`calibration_error`).
        loss: Mean negative log-likelihood of the true classes, in nats; probabilities below 1e-12 count as 1e-12.
        per_class: The scores of each class.
        decision: How the two classes were decided between; None for the most probable.
        mean_cost: With a decision by costs, what the mistakes cost per photo; otherwise None.
        plain_cost: What they would cost if the most probable class were predicted; None without a decision by costs.
        metrics: The values of the chosen metrics by name. They alone may be NaN; and whatever they say of predicted
            classes is about the most probable ones.
        reliability: How far the probabilities can be relied on, before and after calibration, and the coverage of
            prediction sets; None if it was not measured.
        pairs: The pairs of a true and a predicted class that occur, and the number of their photos: ``(K, 3)``. Unlike
            a matrix, it grows with the photos, not with the square of the classes. Not compared by ``==``.
        slices: Parts of the photos, compared with the others; empty unless they were asked for.
    """

    classes: tuple[str, ...]
    count: int
    accuracy: float
    interval: tuple[float, float]
    balanced_accuracy: float
    balanced_interval: tuple[float, float]
    top_5_accuracy: float | None
    top_5_interval: tuple[float, float] | None
    macro_f1: float
    calibration_error: float
    loss: float
    per_class: tuple[ClassMetrics, ...]
    pairs: _Ints = field(compare=False)
    metrics: Mapping[str, MetricValue] = field(default_factory=dict)
    decision: CostDecision | None = None
    mean_cost: float | None = None
    plain_cost: float | None = None
    reliability: ReliabilityReport | None = None
    slices: tuple[Slice, ...] = ()

    @property
    def is_uneven(self) -> bool:
        """Whether one class has more than twice as many photos as another, so that the accuracy hides rare classes."""
        supports = [each.support for each in self.per_class if each.support]
        return max(supports) > _UNEVEN * min(supports)

    @property
    def confusion(self) -> _Ints:
        """The confusion matrix ``(C, C)``: ``confusion[i, j]`` photos of class i were predicted as class j."""
        matrix = np.zeros((len(self.classes), len(self.classes)), dtype=np.int64)
        matrix[self.pairs[:, 0], self.pairs[:, 1]] = self.pairs[:, 2]
        return matrix

    def most_confused(self, most: int = MAX_CONFUSIONS) -> tuple[Confusion, ...]:
        """Returns the mistakes by pair of classes, the most common first.

        Args:
            most: Number of pairs.
        """
        wrong = self.pairs[self.pairs[:, 0] != self.pairs[:, 1]]
        common = wrong[np.argsort(-wrong[:, 2], kind="stable")[:most]].tolist()
        return tuple(
            Confusion(
                true=self.classes[true],
                predicted=self.classes[predicted],
                count=count,
                support=self.per_class[true].support,
            )
            for true, predicted, count in common
        )

    def metrics_to_dict(self) -> dict[str, dict[str, Any]]:
        """Returns the chosen metrics as plain values for JSON, by name: ``value`` and ``interval``; None for NaN."""
        return {
            name: {
                "value": None if math.isnan(each.value) else each.value,
                "interval": None if each.interval is None else list(each.interval),
            }
            for name, each in self.metrics.items()
        }

    def _repr_html_(self) -> str:
        low, high = self.interval
        summary = [
            ("95 % interval", f"{100 * low:.1f} % to {100 * high:.1f} %"),
            *([("balanced accuracy", f"{100 * self.balanced_accuracy:.1f} %")] if self.is_uneven else []),
            *([] if self.top_5_accuracy is None else [("top-5 accuracy", f"{100 * self.top_5_accuracy:.1f} %")]),
            ("macro F1", f"{self.macro_f1:.3f}"),
            ("calibration error", f"{self.calibration_error:.3f}"),
            ("loss", f"{self.loss:.3f}"),
        ]
        scores = [
            (
                each.name,
                bar(each.recall),
                *(f"{value:.3f}" for value in (each.recall, each.precision, each.f1)),
                each.support,
            )
            for each in self.per_class[:_SHOWN_CLASSES]
        ]
        more = len(self.per_class) - len(scores)
        return block(
            heading(f"{100 * self.accuracy:.1f} % accuracy", f"of {self.count:,} photos"),
            pairs(summary),
            table(("class", "", "recall", "precision", "F1", "photos"), scores, right=(2, 3, 4, 5)),
            *([line(f"and {more} more classes")] if more else []),
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON: the fields, the most common confusions, and the matrix of up to 100 classes.

        The matrix, ``"confusion"``, is None for more classes: that of 5,000 has 25 million numbers.
        """
        plain = {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if each.name not in ("per_class", "pairs", "metrics", "decision", "reliability", "slices")
        }
        return {
            **plain,
            "decision": None if self.decision is None else asdict(self.decision),
            "per_class": [asdict(scores) for scores in self.per_class],
            "most_confused": [asdict(confusion) for confusion in self.most_confused()],
            "confusion": self.confusion.tolist() if len(self.classes) <= MAX_MATRIX else None,
            "metrics": self.metrics_to_dict(),
            "reliability": None if self.reliability is None else self.reliability.to_dict(),
            **({"slices": [each.to_dict() for each in self.slices]} if self.slices else {}),
        }


def evaluate_predictions(
    probabilities: npt.ArrayLike,
    labels: npt.ArrayLike,
    classes: Sequence[str],
    decision: CostDecision | None = None,
) -> Evaluation:
    """Computes the metrics of predictions.

    Args:
        probabilities: ``(N, C)`` float. The rows need not sum to one, as those of sigmoids do not. The highest is the
            predicted class, the first of several equal ones.
        labels: ``(N,)`` integers, 0 to C - 1.
        classes: C names.
        decision: How to decide between two classes; None for the most probable.

    Raises:
        DataError: There are no photos.
        TrainingError: A probability is NaN or infinite.
        ValueError: The shapes do not match, or a label is out of range.
    """
    p, y = _validate(probabilities, labels, len(classes))
    most_probable, confidence = p.argmax(axis=1), p.max(axis=1).astype(np.float64)
    predicted = decide_classes(p, classes, decision)
    correct = predicted == y
    per_class, occurring = _per_class(y, predicted, classes)
    supports = [scores.support for scores in per_class if scores.support]
    hits = [round(scores.recall * scores.support) for scores in per_class if scores.support]
    balanced, balanced_interval = mean_of_proportions(hits, supports)
    top = int((true_class_ranks(p, y) < TOP).sum()) if len(classes) > _MANY_CLASSES else None
    return Evaluation(
        classes=tuple(classes),
        count=len(y),
        accuracy=float(correct.mean()),
        interval=wilson_interval(int(correct.sum()), len(y)),
        balanced_accuracy=balanced,
        balanced_interval=balanced_interval,
        top_5_accuracy=None if top is None else top / len(y),
        top_5_interval=None if top is None else wilson_interval(top, len(y)),
        macro_f1=fmean(scores.f1 for scores, occurs in zip(per_class, occurring, strict=True) if occurs),
        calibration_error=calibration_error(confidence, most_probable == y),
        loss=float(negative_log_likelihoods(p, y).mean()),
        per_class=per_class,
        pairs=_count_pairs(y, predicted, len(classes)),
        decision=decision,
        mean_cost=None if decision is None else decision.mean_cost(predicted, y, classes),
        plain_cost=None if decision is None else decision.mean_cost(most_probable, y, classes),
    )


def true_class_ranks(probabilities: npt.NDArray[Any], labels: _Ints) -> _Ints:
    """Returns how many classes count as more probable than that of each photo, int64 ``(N,)``.

    Of equally probable classes the first counts as more probable, as for the predicted class.

    Args:
        probabilities: ``(N, C)``.
        labels: ``(N,)``, 0 to C - 1.
    """
    ranks = np.empty(len(labels), dtype=np.int64)
    rows = max(1, _BLOCK // probabilities.shape[1])
    for start in range(0, len(labels), rows):
        p, y = probabilities[start : start + rows], labels[start : start + rows, None]
        own = np.take_along_axis(p, y, axis=1)
        before = np.arange(p.shape[1]) < y
        ranks[start : start + rows] = ((p > own) | ((p == own) & before)).sum(axis=1)
    return ranks


def negative_log_likelihoods(probabilities: npt.NDArray[Any], labels: _Ints) -> npt.NDArray[np.float64]:
    """Returns the negative log-likelihood of the class of each photo, in nats, float64 ``(N,)``.

    Args:
        probabilities: ``(N, C)``; those below 1e-12 count as 1e-12.
        labels: ``(N,)``, 0 to C - 1.
    """
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    losses: npt.NDArray[np.float64] = np.abs(np.log(np.clip(own, 1e-12, 1)))
    return losses


def calibration_error(confidence: npt.ArrayLike, correct: npt.ArrayLike, *, bins: int = BINS) -> float:
    """Returns the expected calibration error (Guo et al. 2017, https://arxiv.org/abs/1706.04599, equation 3).

    It sorts the predictions by confidence into bins of equal width, open below and closed above, and averages the
    gap between accuracy and mean confidence over the bins, weighted by their numbers of predictions.

    Args:
        confidence: ``(N,)`` float, 0 to 1: the probability of the predicted class.
        correct: ``(N,)`` bool: whether the predicted class is the label.
        bins: Number of bins.
    """
    p = np.asarray(confidence, dtype=np.float64)
    bin_of = np.digitize(p, np.linspace(0, 1, bins + 1)[1:-1], right=True)
    # The number n of a bin cancels out: (n / N) |correct / n - sum(p) / n| = |correct - sum(p)| / N.
    gaps = np.bincount(bin_of, weights=np.asarray(correct, dtype=np.float64) - p, minlength=bins)
    return float(np.abs(gaps).sum() / p.size)


def _validate(probabilities: npt.ArrayLike, labels: npt.ArrayLike, classes: int) -> tuple[npt.NDArray[Any], _Ints]:
    p, y = np.asarray(probabilities), np.asarray(labels)
    if p.shape != (len(y), classes):
        raise ValueError(f"probabilities have shape {p.shape}, not {(len(y), classes)}")
    if len(y) == 0:
        raise DataError("There are no photos to evaluate.", hint="Pass data with at least one readable photo.")
    if not np.issubdtype(y.dtype, np.integer) or y.min() < 0 or y.max() >= classes:
        raise ValueError(f"labels must be integers from 0 to {classes - 1}")
    # NaN is the lowest and the highest of its row; no array of the size of all probabilities is necessary.
    if diverged := int((~np.isfinite(p.max(axis=1)) | ~np.isfinite(p.min(axis=1))).sum()):
        raise TrainingError(
            f"The network returns NaN or infinite outputs for {diverged} of {len(y)} photos.",
            hint="Its training diverged. Lower the learning rate, or pass --precision fp32.",
        )
    return p, y.astype(np.int64)


def _count_pairs(labels: _Ints, predicted: _Ints, classes: int) -> _Ints:
    """Returns the pairs of label and predicted class that occur, in ascending order, and their counts: ``(K, 3)``."""
    keys, counts = np.unique(labels * classes + predicted, return_counts=True)
    return np.stack([*np.divmod(keys, classes), counts], axis=1)


def _per_class(
    labels: _Ints, predicted_labels: _Ints, classes: Sequence[str]
) -> tuple[tuple[ClassMetrics, ...], npt.NDArray[np.bool_]]:
    """Returns the scores of each class, and whether it is that of a photo or was predicted."""
    right = labels[labels == predicted_labels]
    hits, predicted, support = (np.bincount(each, minlength=len(classes)) for each in (right, predicted_labels, labels))
    # 2 TP / (predicted + support) equals the harmonic mean, and is defined even where precision or recall is not.
    columns = (_ratio(hits, predicted), _ratio(hits, support), _ratio(2 * hits, predicted + support), support.tolist())
    scores = tuple(
        ClassMetrics(name=name, precision=precision, recall=recall, f1=f1, support=count)
        for name, precision, recall, f1, count in zip(classes, *columns, strict=True)
    )
    return scores, predicted + support > 0


def _ratio(numerator: _Ints, denominator: _Ints) -> list[float]:
    ratio = np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=denominator > 0)
    return [float(value) for value in ratio]
