"""Metrics of a multi-label classifier: average precision, F1, exact match and Hamming loss, with their intervals."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import DataError, TrainingError
from zoo.metrics.intervals import CONFIDENCE
from zoo.metrics.label_predictions import LabelPredictions, Ranking, divide, resample_photos
from zoo.metrics.thresholds import decide
from zoo.utils.markup import bar, block, heading, line, pairs, table

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    import numpy.typing as npt
    from numpy.typing import NDArray

    from zoo.metrics.calibration import ReliabilityReport
    from zoo.plugins.specs import MetricValue

    Interval = tuple[float, float]

# The figures of a `MultiLabelEvaluation`, the most important first, and how they are shown.
FIGURES = {
    "mean_ap": "mAP",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "exact_match": "exact match",
    "hamming_loss": "Hamming loss",
}
_SHOWN_LABELS, _LISTED = 20, 5  # in a notebook, and in a note
_TINY = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMetrics:
    """The scores of one label.

    Attributes:
        name: The name of the label.
        average_precision: The area under its curve of precision and recall, as in scikit-learn; None without photos
            that have the label.
        interval: Its 95 % interval; None without photos that have the label.
        threshold: The probability from which a photo is decided to have the label.
        precision: The share of the photos decided to have the label that have it; 0 if there are none.
        recall: The share of the photos with the label that were decided to have it; 0 if there are none.
        f1: Harmonic mean of precision and recall; 0 if both are 0.
        support: Number of photos with the label.
    """

    name: str
    average_precision: float | None
    interval: Interval | None
    threshold: float
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiLabelEvaluation:
    """The metrics of a multi-label classifier on labelled photos. Every float but those of `metrics` is finite.

    Labels that no photo has are left out of `mean_ap` and `macro_f1`; `notes` says so.

    Attributes:
        classes: The names of the labels, in the order of the probabilities.
        count: Number of photos.
        mean_ap: Mean average precision over the labels (mAP), 0 to 1; it needs no thresholds.
        macro_f1: Mean F1 over the labels, at their thresholds.
        micro_f1: F1 of the decisions on all labels together.
        exact_match: The share of the photos for which all labels are decided correctly: the accuracy of scikit-learn.
        hamming_loss: The share of wrong decisions.
        loss: Mean negative log-likelihood of the labels of a photo, in nats; probabilities below 1e-12 count as 1e-12.
        intervals: The 95 % intervals of the five figures above `loss`, by name: a bootstrap over the photos (Efron and
            Tibshirani 1993).
        per_class: The scores of each label.
        metrics: The values of the chosen metrics by name. They alone may be NaN.
        reliability: As in `zoo.metrics.classification.Evaluation`, for the answers to all labels.
        notes: Sentences that readers of the figures should know.
    """

    classes: tuple[str, ...]
    count: int
    mean_ap: float
    macro_f1: float
    micro_f1: float
    exact_match: float
    hamming_loss: float
    loss: float
    intervals: Mapping[str, Interval]
    per_class: tuple[LabelMetrics, ...]
    metrics: Mapping[str, MetricValue] = field(default_factory=dict)
    reliability: ReliabilityReport | None = None
    notes: tuple[str, ...] = ()

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The threshold of each label."""
        return tuple(each.threshold for each in self.per_class)

    def metrics_to_dict(self) -> dict[str, dict[str, Any]]:
        """Returns the chosen metrics as plain values for JSON, by name: ``value`` and ``interval``; None for NaN."""
        return {
            name: {
                "value": None if math.isnan(each.value) else each.value,
                "interval": None if each.interval is None else list(each.interval),
            }
            for name, each in self.metrics.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON: the fields."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            **plain,
            "intervals": {name: list(interval) for name, interval in self.intervals.items()},
            "per_class": [asdict(scores) for scores in self.per_class],
            "metrics": self.metrics_to_dict(),
            "reliability": None if self.reliability is None else self.reliability.to_dict(),
        }

    def _repr_html_(self) -> str:
        summary = [
            (title, f"{getattr(self, name):.3f} ({low:.3f} to {high:.3f})")
            for name, title in FIGURES.items()
            for low, high in [self.intervals[name]]
        ]
        scores = [
            (
                each.name,
                bar(each.average_precision or 0.0),
                "-" if each.average_precision is None else f"{each.average_precision:.3f}",
                *(f"{value:.3f}" for value in (each.threshold, each.recall, each.precision, each.f1)),
                each.support,
            )
            for each in self.per_class[:_SHOWN_LABELS]
        ]
        more = len(self.per_class) - len(scores)
        header = ("label", "", "AP", "threshold", "recall", "precision", "F1", "photos")
        return block(
            heading(f"{100 * self.mean_ap:.1f} % mAP", f"of {self.count:,} photos"),
            pairs(summary),
            table(header, scores, right=range(2, len(header))),
            *([line(f"and {more} more labels")] if more else []),
            *map(line, self.notes),
        )


def evaluate_labels(
    probabilities: npt.ArrayLike,
    targets: npt.ArrayLike,
    classes: Sequence[str],
    thresholds: Sequence[float],
    *,
    decided: NDArray[np.bool_] | None = None,
    groups: Sequence[Hashable] = (),
) -> MultiLabelEvaluation:
    """Computes the metrics of multi-label predictions.

    Args:
        probabilities: ``(N, labels)`` float, 0 to 1.
        targets: ``(N, labels)``, 1 where a photo has a label and 0 elsewhere.
        classes: The names of the labels.
        thresholds: The threshold of each label.
        decided: Which labels each photo is decided to have, ``(N, labels)``; by default those at their thresholds.
        groups: The group of each photo, if photos of a group are alike, which makes intervals wider.

    Raises:
        DataError: There are no photos, or none has a label.
        TrainingError: A probability is NaN or infinite.
        ValueError: The shapes do not match.
    """
    p, y = _validate(probabilities, targets, len(classes), len(thresholds))
    decided = decide(p, thresholds) if decided is None else decided
    predictions, once = LabelPredictions(p, y, decided), np.ones((1, len(y)))
    measured = predictions.measure(once)
    figures = {name: float(value[0]) for name, value in measured.figures.items()}
    resampled = [predictions.measure(weights) for weights in resample_photos(len(y), len(classes), groups)]
    intervals = {
        name: _find_interval(value, np.concatenate([each.figures[name] for each in resampled]))
        for name, value in figures.items()
    }
    drawn = np.concatenate([each.precisions for each in resampled])
    precisions = {
        label: (float(value), _find_interval(value, values))
        for label, value, values in zip(predictions.known.tolist(), measured.precisions[0], drawn.T, strict=True)
    }
    return MultiLabelEvaluation(
        classes=tuple(classes),
        count=len(y),
        mean_ap=figures["mean_ap"],
        macro_f1=figures["macro_f1"],
        micro_f1=figures["micro_f1"],
        exact_match=figures["exact_match"],
        hamming_loss=figures["hamming_loss"],
        loss=float(label_losses(p, y).mean()),
        intervals=intervals,
        per_class=_per_class(classes, thresholds, predictions, precisions),
        notes=_describe_absent([name for name, own in zip(classes, y.T, strict=True) if not own.any()]),
    )


def label_losses(probabilities: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.float64]:
    """Returns the negative log-likelihood of all labels of each photo, in nats, float64 ``(N,)``.

    Args:
        probabilities: ``(N, labels)``; those of what is true below 1e-12 count as 1e-12.
        targets: ``(N, labels)``, 1 where a photo has a label and 0 elsewhere.
    """
    p = probabilities.astype(np.float64)
    true = np.where(targets.astype(bool), p, 1 - p)
    losses: NDArray[np.float64] = np.abs(np.log(np.clip(true, _TINY, 1)).sum(axis=1))
    return losses


def mean_average_precision(probabilities: NDArray[Any], targets: NDArray[Any]) -> float:
    """Returns the mean average precision over the labels that a photo has; NaN if none has one.

    Args:
        probabilities: ``(N, labels)`` float.
        targets: ``(N, labels)``, 1 where a photo has a label and 0 elsewhere.
    """
    own, once = targets.astype(bool), np.ones((1, len(targets)))
    found = [Ranking(p, y).average_precision(once)[0] for p, y in zip(probabilities.T, own.T, strict=True) if y.any()]
    return float(np.mean(found)) if found else math.nan


def _per_class(
    classes: Sequence[str],
    thresholds: Sequence[float],
    predictions: LabelPredictions,
    precisions: Mapping[int, tuple[float, Interval]],
) -> tuple[LabelMetrics, ...]:
    tp, fp, fn = predictions.count(np.ones((1, len(predictions))))
    columns = (
        divide(tp, tp + fp, otherwise=0.0)[0].tolist(),
        divide(tp, tp + fn, otherwise=0.0)[0].tolist(),
        divide(2 * tp, 2 * tp + fp + fn, otherwise=0.0)[0].tolist(),
        (tp + fn)[0].tolist(),
    )
    return tuple(
        LabelMetrics(
            name=name,
            average_precision=precisions[label][0] if label in precisions else None,
            interval=precisions[label][1] if label in precisions else None,
            threshold=float(threshold),
            precision=precision,
            recall=recall,
            f1=f1,
            support=int(support),
        )
        for label, (name, threshold, precision, recall, f1, support) in enumerate(
            zip(classes, thresholds, *columns, strict=True)
        )
    )


def _find_interval(value: float, drawn: NDArray[np.float64]) -> Interval:
    """Returns the percentile interval of a value, which it contains."""
    defined = drawn[~np.isnan(drawn)]
    if not len(defined):  # a single photo has the label, and no resample
        return 0.0, 1.0
    low, high = np.quantile(defined, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return min(float(low), float(value)), max(float(high), float(value))


def _describe_absent(names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        return ()
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    listed = f"{', '.join(names[:_LISTED])}{more}"
    return (f"No photo has the label{'s' if len(names) > 1 else ''} {listed}: the means leave them out.",)


def _validate(
    probabilities: npt.ArrayLike, targets: npt.ArrayLike, labels: int, thresholds: int
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    p, y = np.asarray(probabilities), np.asarray(targets)
    if p.shape != (len(y), labels) or p.shape != y.shape or thresholds != labels:
        raise ValueError(f"{p.shape} probabilities, {y.shape} targets and {thresholds} thresholds for {labels} labels")
    if len(y) == 0:
        raise DataError("There are no photos to evaluate.", hint="Pass data with at least one readable photo.")
    if not y.any():
        raise DataError(f"None of {len(y)} photos has a label.", hint="Pass data in which some photos have labels.")
    if diverged := int((~np.isfinite(p)).any(axis=1).sum()):
        raise TrainingError(
            f"The network returns NaN or infinite outputs for {diverged} of {len(y)} photos.",
            hint="Its training diverged. Lower the learning rate, or pass --precision fp32.",
        )
    return p, y.astype(bool)
