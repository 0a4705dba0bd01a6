"""Two classifiers on the same photos: the difference of their accuracies and of their F1, with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zoo.metrics.intervals import CONFIDENCE, paired_interval, paired_p

if TYPE_CHECKING:
    from numpy.typing import NDArray

    _Ints = NDArray[np.int64]

_RESAMPLES = 1000
_SEED = 0
_LEVEL = 1 - CONFIDENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """The second of two classifiers minus the first, on the same photos.

    Attributes:
        first: Name of the first.
        second: Name of the second.
        count: Number of photos.
        gained: Number of photos that only the second classifies correctly.
        lost: Number of photos that only the first classifies correctly.
        accuracy: Difference of the accuracies, -1 to 1.
        interval: Its 95 % interval (`zoo.metrics.intervals.paired_interval`).
        p: McNemar's exact test that the accuracies are equal, two-sided.
        macro_f1: Difference of the macro F1, -1 to 1.
        macro_f1_interval: Its 95 % interval, by a bootstrap over the photos (Efron and Tibshirani 1993).
    """

    first: str
    second: str
    count: int
    gained: int
    lost: int
    accuracy: float
    interval: tuple[float, float]
    p: float
    macro_f1: float
    macro_f1_interval: tuple[float, float]

    @property
    def better(self) -> str:
        """The name of the one that is more accurate, or empty text if neither interval nor test shows it."""
        low, high = self.interval
        if low <= 0 <= high or self.p >= _LEVEL:
            return ""
        return self.second if self.accuracy > 0 else self.first

    def describe(self) -> str:
        """Returns a sentence: ``"B is better than A by 1.2 points (0.3 to 2.1)."``."""
        gain = Gain(self.accuracy, self.interval)
        return describe_gain(self.first, self.second, gain, shown=bool(self.better), count=self.count)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON: the fields, and the sentence as ``text``."""
        fields = ("first", "second", "count", "gained", "lost", "accuracy", "p", "macro_f1")
        plain = {name: getattr(self, name) for name in fields}
        intervals = {"interval": list(self.interval), "macro_f1_interval": list(self.macro_f1_interval)}
        return {**plain, **intervals, "text": self.describe()}


class Gain(NamedTuple):
    """A difference of two figures, the second minus the first.

    Attributes:
        value: The difference, -1 to 1.
        interval: Its 95 % interval.
    """

    value: float
    interval: tuple[float, float]

    @property
    def is_clear(self) -> bool:
        """Whether the interval does not contain 0."""
        low, high = self.interval
        return low > 0 or high < 0


def describe_gain(first: str, second: str, gain: Gain, *, shown: bool, count: int, figure: str = "") -> str:
    """Returns a sentence on how much better or worse the second of two classifiers is.

    Args:
        first: Name of the first.
        second: Name of the second.
        gain: The difference.
        shown: Whether the difference is more than chance explains.
        count: Number of photos.
        figure: What differs, if not the accuracy: ``"mAP"``.
    """
    low, high = (100 * each for each in gain.interval)
    if not shown:
        return (
            f"No difference{figure and ' in '}{figure} between {first} and {second} can be shown with {count:,} photos:"
            f" {100 * gain.value:+.1f} points ({low:+.1f} to {high:+.1f})."
        )
    word, sign = ("better", 1) if gain.value > 0 else ("worse", -1)
    low, high = sorted((sign * low, sign * high))
    points = f"{100 * abs(gain.value):.1f} points{figure and ' of '}{figure} ({low:.1f} to {high:.1f})"
    return f"{second} is {word} than {first} by {points}."


def compare_predictions(first: str, second: str, predicted: tuple[_Ints, _Ints], labels: _Ints) -> PairedDifference:
    """Compares the predictions of two classifiers.

    Args:
        first: Name of the first.
        second: Name of the second.
        predicted: The predicted classes of each, ``(N,)``, at least one photo.
        labels: The true classes ``(N,)``.
    """
    right = [each == labels for each in predicted]
    count, gained, lost = len(labels), int((right[1] & ~right[0]).sum()), int((right[0] & ~right[1]).sum())
    return PairedDifference(
        first=first,
        second=second,
        count=count,
        gained=gained,
        lost=lost,
        accuracy=(gained - lost) / count,
        interval=paired_interval(lost, gained, count),
        p=paired_p(lost, gained),
        macro_f1=_difference(predicted, labels, np.ones(count)),
        macro_f1_interval=_bootstrap(predicted, labels),
    )


def _bootstrap(predicted: tuple[_Ints, _Ints], labels: _Ints) -> tuple[float, float]:
    """Returns the percentile interval of the difference of the macro F1."""
    draw, count = np.random.default_rng(_SEED), len(labels)
    times = (np.bincount(draw.integers(count, size=count), minlength=count) for _ in range(_RESAMPLES))
    differences = [_difference(predicted, labels, each.astype(np.float64)) for each in times]
    low, high = np.quantile(differences, [_LEVEL / 2, 1 - _LEVEL / 2])
    return float(low), float(high)


def _difference(predicted: tuple[_Ints, _Ints], labels: _Ints, weights: NDArray[np.float64]) -> float:
    first, second = (_macro_f1(each, labels, weights) for each in predicted)
    return second - first


def _macro_f1(predicted: _Ints, labels: _Ints, weights: NDArray[np.float64]) -> float:
    """Returns the mean F1 of the classes that occur or were predicted, each photo counted `weights` times."""
    classes, correct = int(max(predicted.max(), labels.max())) + 1, predicted == labels
    hits = np.bincount(labels[correct], weights[correct], classes)
    both = np.bincount(labels, weights, classes) + np.bincount(predicted, weights, classes)
    return float((2 * hits[both > 0] / both[both > 0]).mean())
