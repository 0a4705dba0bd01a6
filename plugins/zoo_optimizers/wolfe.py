"""A line search for the strong Wolfe conditions (Nocedal & Wright, Numerical Optimization, 2006, section 3.5)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

_DECREASE = 1e-4  # of the loss, as a share of what the slope at the start promises
_GROWTH = 4.0  # of the length while the loss keeps falling
_MARGIN = 0.1  # share of an interval at either end that no new length comes from
_ROUNDING = 1e-7  # of a value in float32


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point on the line.

    Attributes:
        length: Its distance from the start, in units of the direction.
        value: The objective.
        slope: The derivative of the objective along the direction.
        gradient: The gradient ``(P,)``.
    """

    length: float
    value: float
    slope: float
    gradient: Tensor


def search(
    evaluate: Callable[[float], Point], start: Point, *, length: float, curvature: float, evaluations: int
) -> Point:
    """Returns a point that meets the conditions, or the lowest one found; the start if none is lower.

    A value that is not finite counts as too high, so that the search comes back from where a network overflows.

    Args:
        evaluate: Returns the point at a length.
        start: The point at length 0, with a negative slope.
        length: The first length to try.
        curvature: The largest slope of the result, as a share of that at the start.
        evaluations: The most calls of `evaluate`.
    """
    low, high = start, None
    for _ in range(evaluations):
        point = evaluate(length)
        allowed = start.value + _DECREASE * point.length * start.slope
        if not (point.value <= allowed and point.value < low.value):  # also for NaN
            high = point
        else:
            if abs(point.slope) <= -curvature * start.slope:
                return point
            ahead = 1.0 if high is None else high.length - low.length
            if point.slope * ahead >= 0:  # the minimum lies between the two, behind the point
                high = low
            low = point
        if high is None:
            length = _GROWTH * low.length
        elif math.isclose(point.value, start.value, rel_tol=_ROUNDING):
            break  # what is left is rounding
        else:
            length = _divide(low, high)
    return low


def _divide(low: Point, high: Point) -> float:
    """Returns a length between two points: the minimum of the cubic through both, away from the ends."""
    width = high.length - low.length
    share = _cubic_minimum(low, high, width)
    return low.length + width * min(max(share, _MARGIN), 1 - _MARGIN)


def _cubic_minimum(low: Point, high: Point, width: float) -> float:
    """Returns where between two points the minimum of a cubic lies, as a share of the way; 0.5 if there is none."""
    if not math.isfinite(high.value) or not math.isfinite(high.slope):
        return 0.5
    first, last = low.slope * width, high.slope * width
    middle = first + last - 3 * (high.value - low.value)
    square = middle * middle - first * last
    if square < 0:
        return 0.5
    root = math.sqrt(square)
    bottom = last - first + 2 * root
    return 1 - (last + root - middle) / bottom if bottom else 0.5
