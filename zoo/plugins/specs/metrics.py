"""Metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.plugins.specs.base import Spec

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRequest:
    """The argument of `MetricSpec.compute`.

    Attributes:
        probabilities: ``(N, classes)`` float32.
        targets: Class indices ``(N,)`` int64.
        classes: Class names.
        options: An instance of `MetricSpec.options`.
    """

    probabilities: np.ndarray
    targets: np.ndarray
    classes: tuple[str, ...]
    options: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricValue:
    """A value of a metric.

    Attributes:
        value: The value; NaN where it is not defined, for example without photos of a class.
        interval: Its 95 % confidence interval, or None if the metric computes none.
    """

    value: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec(Spec):
    """A metric of all predictions for a split.

    Attributes:
        compute: Returns values by name. Called once per evaluation, never per image; uses numpy, not torch.
        higher_is_better: Whether larger values are better, for choosing the best epoch.
    """

    compute: Callable[[MetricRequest], Mapping[str, MetricValue]] | str
    higher_is_better: bool = True
