"""Metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.plugins.specs.base import Spec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRequest:
    """The argument of `MetricSpec.compute`: the predictions for all photos of a split.

    Attributes:
        probabilities: ``(N, classes)`` float32, read-only. The rows of a loss with sigmoids need not sum to one.
        targets: Class indices ``(N,)`` int64, read-only. Some classes may have no photos.
        classes: Class names.
        options: An instance of `MetricSpec.options`.
    """

    probabilities: NDArray[np.float32]
    targets: NDArray[np.int64]
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
        compute: Returns values by name, each a `MetricValue` or a number: the same names whatever the photos are. The
            first is the one that ``--monitor`` watches. Called once per split, never per photo; a function of its
            argument alone, which does not depend on the order of the photos. Uses numpy, not torch: exported files are
            evaluated without torch.
        higher_is_better: Whether larger values are better, for choosing the best epoch.
    """

    compute: Callable[[MetricRequest], Mapping[str, MetricValue | float]] | str
    higher_is_better: bool = True
