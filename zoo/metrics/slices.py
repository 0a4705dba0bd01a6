"""Slices of evaluated photos, such as the darkest quarter: on which is a classifier worse than chance explains?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.metrics.intervals import CONFIDENCE, wilson_interval

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

MIN_PHOTOS = 10  # of a slice, and of the others: fewer show nothing
_PARTS = 4  # of a property, of equal size
_NAMES = ("lowest", "second", "third", "highest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Some of the evaluated photos, compared with all others.

    Attributes:
        by: The property: ``"brightness"``, ``"group"``.
        name: Which photos: ``"lowest"``, of four parts, or the name of a group.
        low: The lowest value among them; None for a group.
        high: The highest value among them; None for a group.
        count: Number of photos.
        accuracy: Of these photos, 0 to 1.
        interval: Its 95 % interval (`wilson_interval`).
        expected: The accuracy that they would have if each class was recognised as well as it is everywhere: the slice
            may have the difficult classes.
        rest: The accuracy of all other photos.
        p: Fisher's exact test that the slice is no worse than the others, one-sided.
        p_adjusted: The same, corrected for looking at all slices (Holm 1979, https://www.jstor.org/stable/4615733).
    """

    by: str
    name: str
    low: float | None
    high: float | None
    count: int
    accuracy: float
    interval: tuple[float, float]
    expected: float
    rest: float
    p: float
    p_adjusted: float

    @property
    def title(self) -> str:
        """The slice for readers: ``"brightness: lowest (0.08 to 0.31)"``."""
        span = "" if self.low is None or self.high is None else f" ({_format(self.low)} to {_format(self.high)})"
        return f"{self.by}: {self.name}{span}"

    @property
    def is_worse(self) -> bool:
        """Whether the slice is worse than the others by more than chance explains."""
        return self.p_adjusted < 1 - CONFIDENCE

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return {**asdict(self), "interval": list(self.interval), "is_worse": self.is_worse}


def find_slices(
    correct: NDArray[np.bool_],
    labels: NDArray[np.int64],
    properties: Mapping[str, NDArray[np.float64]],
    groups: Sequence[str] = (),
) -> tuple[Slice, ...]:
    """Returns the slices of evaluated photos, those that are worse than chance explains first.

    Each property divides the photos into four parts of about the same size, where equal values stay together; each
    group is a slice, too. Slices of fewer than `MIN_PHOTOS` photos, or that leave fewer, are left out.

    Args:
        correct: Whether each photo is classified correctly, ``(N,)``.
        labels: The class of each photo, ``(N,)``.
        properties: Values of the photos by name, each ``(N,)``; NaN for a photo that has none.
        groups: The group of each photo, empty for none; or nothing if there are no groups.
    """
    found = [*_divide_all(properties), *_find_groups(groups)]
    totals, hits = np.bincount(labels), np.bincount(labels, weights=correct)
    expected = (hits / np.maximum(totals, 1))[labels]
    usable = [each for each in found if MIN_PHOTOS <= int(each[-1].sum()) <= len(correct) - MIN_PHOTOS]
    p_values = [_test_worse(correct, inside) for *_, inside in usable]
    slices = [
        Slice(
            by=by,
            name=name,
            low=low,
            high=high,
            count=int(inside.sum()),
            accuracy=float(correct[inside].mean()),
            interval=wilson_interval(int(correct[inside].sum()), int(inside.sum())),
            expected=float(expected[inside].mean()),
            rest=float(correct[~inside].mean()),
            p=p,
            p_adjusted=adjusted,
        )
        for (by, name, low, high, inside), p, adjusted in zip(usable, p_values, adjust_holm(p_values), strict=True)
    ]
    return tuple(sorted(slices, key=lambda each: (each.p_adjusted, each.p, each.accuracy)))


_Part = tuple[str, str, "float | None", "float | None", "NDArray[np.bool_]"]


def _divide_all(properties: Mapping[str, NDArray[np.float64]]) -> Iterator[_Part]:
    for by, values in properties.items():
        known = np.isfinite(values)
        if not known.any():
            continue
        edges = np.quantile(values[known], np.arange(1, _PARTS) / _PARTS)
        parts = np.searchsorted(edges, values, side="left")
        for number, name in enumerate(_NAMES):
            inside = known & (parts == number)
            if inside.any():
                yield by, name, float(values[inside].min()), float(values[inside].max()), inside


def _format(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _find_groups(groups: Sequence[str]) -> Iterator[_Part]:
    named = np.array(groups, dtype=object)
    for group in dict.fromkeys(filter(None, groups)):
        yield "group", group, None, None, named == group


def _test_worse(correct: NDArray[np.bool_], inside: NDArray[np.bool_]) -> float:
    """Returns the probability of at most as many correct photos, if the slice were drawn at random from all photos."""
    from scipy.special import gammaln  # loads in a fraction of the time of scipy.stats

    count, right, drawn, hits = len(correct), int(correct.sum()), int(inside.sum()), int(correct[inside].sum())
    k = np.arange(max(0, drawn - (count - right)), hits + 1)

    def log_choose(n: Any, m: Any) -> Any:
        return gammaln(n + 1) - gammaln(m + 1) - gammaln(n - m + 1)

    logs = log_choose(right, k) + log_choose(count - right, drawn - k) - log_choose(count, drawn)
    return min(1.0, float(np.exp(logs).sum()))


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values corrected for several tests, which may depend on each other (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    adjusted, highest = [1.0] * len(p_values), 0.0
    for done, number in enumerate(order.tolist()):
        highest = max(highest, min(1.0, (len(p_values) - done) * p_values[number]))
        adjusted[number] = highest
    return adjusted
