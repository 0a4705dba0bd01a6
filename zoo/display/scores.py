"""The most important figure of a run: its accuracy, or its mAP with several labels per photo."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from zoo.display.formatting import format_accuracy, format_percent

ACCURACY, MEAN_AP = "accuracy", "mAP"
SPLIT_NAMES = {"test": "test", "val": "validation"}
# The figures of a split that are shown, in this order.
FIGURE_TITLES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "mean_ap": "mAP",
    "macro_f1": "Macro F1",
    "micro_f1": "Micro F1",
    "exact_match": "Exact match",
    "hamming_loss": "Hamming loss",
    "loss": "Loss",
    "calibration_error": "Calibration error",
}
_UNBOUNDED = ("loss",)  # the others are shown in percent


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A figure of a split.

    Attributes:
        name: ``"accuracy"`` or ``"mAP"``.
        value: 0 to 1.
        interval: Its 95 % interval; None if it is not recorded.
    """

    name: str
    value: float
    interval: tuple[float, float] | None

    def __str__(self) -> str:
        """Returns ``93.1 % ± 1.8``."""
        return format_accuracy(self.value, self.interval)


def read_score(results: Mapping[str, Any], split: str) -> Score | None:
    """Returns the figure of a split, from the ``results`` of a run, which may contain anything; None if there is none.

    Args:
        results: As in ``run.json``.
        split: ``"test"`` or ``"val"``.
    """
    scores = results.get(split)
    if not isinstance(scores, Mapping):
        return None
    intervals = scores.get("intervals")
    for name, key, interval in (
        (ACCURACY, "accuracy", scores.get("interval")),
        (MEAN_AP, "mean_ap", intervals.get("mean_ap") if isinstance(intervals, Mapping) else None),
    ):
        if (value := _number(scores.get(key))) is not None:
            return Score(name=name, value=value, interval=_interval(interval))
    return None


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _interval(value: Any) -> tuple[float, float] | None:
    low, high = map(_number, value) if isinstance(value, list | tuple) and len(value) == 2 else (None, None)
    return None if low is None or high is None else (low, high)


def split_results(results: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Returns the figures of test and validation photos, from the ``results`` of a run, which may contain anything."""
    found = [(split, results.get(split)) for split in SPLIT_NAMES]
    return [(split, values) for split, values in found if isinstance(values, dict)]


def list_figures(values: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yields the name, the value and the interval of each metric of a split, as text."""
    for name in FIGURE_TITLES:
        if isinstance(value := values.get(name), int | float):
            intervals = values.get("intervals")
            interval = intervals.get(name) if isinstance(intervals, dict) else None
            if name == "accuracy":
                interval = values.get("interval")
            percent = name not in _UNBOUNDED
            yield (
                name,
                format_percent(value) if percent else f"{value:.4f}",
                _format_interval(interval, percent=percent),
            )
    more = values.get("metrics")
    for name, found in more.items() if isinstance(more, dict) else ():
        value, interval = (found.get("value"), found.get("interval")) if isinstance(found, dict) else (found, None)
        if isinstance(value, int | float):
            yield name, f"{value:.4f}", _format_interval(interval, percent=False)


def _format_interval(interval: Any, *, percent: bool) -> str:
    if not isinstance(interval, list | tuple) or len(interval) != 2:
        return ""
    return " to ".join(format_percent(each) if percent else f"{each:.4f}" for each in interval)
