"""The most important figure of a run: its accuracy, or its mAP with several labels per photo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zoo.display.formatting import format_accuracy

ACCURACY, MEAN_AP = "accuracy", "mAP"


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
