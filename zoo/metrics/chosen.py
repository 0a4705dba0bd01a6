"""Metrics of plugins, as chosen by the user: called once for all photos of a split, and checked. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import ConfigError, PluginError
from zoo.plugins.calls import plugin_failure
from zoo.plugins.specs import MetricRequest, MetricValue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from zoo.plugins.registry import Choice
    from zoo.plugins.specs import MetricSpec

_CHECKED = 64  # photos on which metrics are tried before any slow work
_ROUNDING = 1e-9  # by which a value may lie outside its interval


def compute_metrics(
    metrics: Sequence[Choice[MetricSpec]],
    probabilities: npt.ArrayLike,
    labels: npt.ArrayLike,
    classes: Sequence[str],
    *,
    on_failure: Callable[[Choice[MetricSpec], PluginError], object] | None = None,
) -> dict[str, dict[str, MetricValue]]:
    """Returns the values of each metric by its qualified name.

    Args:
        metrics: The metrics and their options.
        probabilities: ``(N, classes)`` float.
        labels: Class indices ``(N,)``.
        classes: Class names.
        on_failure: Called with a metric that fails, which is then left out; by default the error is raised.

    Raises:
        PluginError: A metric failed or violates its contract.
    """
    p, y = _read_only(probabilities, np.float32), _read_only(labels, np.int64)
    found = {}
    for metric in metrics:
        request = MetricRequest(probabilities=p, targets=y, classes=tuple(classes), options=metric.options)
        try:
            values = metric.offer.call("computing", metric.spec.compute, request)
            if fault := metric_fault(values):
                raise plugin_failure(metric.offer.plugin, f"computing '{metric.spec.name}'", fault)
        except PluginError as error:
            if on_failure is None:
                raise
            on_failure(metric, error)
            continue
        found[metric.offer.name] = {name: _to_value(value) for name, value in values.items()}
    return found


def merge_values(values: Mapping[str, Mapping[str, MetricValue]]) -> dict[str, MetricValue]:
    """Returns the values of several metrics, the result of `compute_metrics`, by their own names."""
    return {name: value for each in values.values() for name, value in each.items()}


def check_metrics(metrics: Sequence[Choice[MetricSpec]], classes: Sequence[str], *, multi_label: bool = False) -> None:
    """Tries metrics on a few made-up predictions, so that one that fails does so before any slow work.

    Args:
        metrics: The metrics and their options.
        classes: Class names.
        multi_label: Whether a photo has any number of labels, which no metric of a plugin takes.

    Raises:
        PluginError: A metric failed or violates its contract.
        ConfigError: Two metrics give values of the same name, or a photo has any number of labels.
    """
    if metrics and multi_label:
        raise ConfigError(
            f"The metric {metrics[0].spec.name} is for photos with one class each; these have any number of labels.",
            hint="Leave it out: mAP, F1, exact match and Hamming loss are computed anyway. --monitor val-map watches "
            "the mAP.",
        )
    count = len(classes)
    labels = np.arange(_CHECKED) % count
    probabilities = np.full((_CHECKED, count), 0.5 / count, dtype=np.float32)
    # Two of three are right.
    probabilities[np.arange(_CHECKED), (labels + (np.arange(_CHECKED) % 3 == 0)) % count] += 0.5
    owners: dict[str, str] = {}
    for metric, values in compute_metrics(metrics, probabilities, labels, classes).items():
        for name in values:
            if other := owners.get(name):
                raise ConfigError(
                    f"The metrics {other} and {metric} both give a value '{name}'.", hint="Choose one of them."
                )
            owners[name] = metric


def metric_fault(values: object) -> str:
    """Returns what is wrong with the result of a metric, or an empty string."""
    if not isinstance(values, Mapping) or not values:
        return f"it returned {type(values).__name__}, not at least one value by name"
    for name, value in values.items():
        if not isinstance(name, str) or not name:
            return f"the name of a value is {name!r:.80}, not text"
        number = value.value if isinstance(value, MetricValue) else value
        if not _is_number(number):
            return f"'{name}' is {type(number).__name__}, not a number or a zoo.MetricValue with one"
        if math.isinf(number):
            return f"'{name}' is infinite; a value that is not defined is NaN"
        if isinstance(value, MetricValue) and (fault := _interval_fault(value)):
            return f"the interval of '{name}' {fault}"
    return ""


def _interval_fault(value: MetricValue) -> str:
    interval: object = value.interval
    if interval is None:
        return ""
    if not isinstance(interval, tuple | list) or len(interval) != 2 or not all(map(_is_number, interval)):
        return f"is {interval!r:.80}, not two numbers"
    low, high = map(float, interval)
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"is {low:g} to {high:g}; without one it is None"
    if not low - _ROUNDING <= value.value <= high + _ROUNDING:
        return f"is {low:g} to {high:g}, which does not contain the value {value.value:g}"
    return ""


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def _to_value(value: MetricValue | float) -> MetricValue:
    if not isinstance(value, MetricValue):
        return MetricValue(value=float(value))
    interval = None if value.interval is None else (float(value.interval[0]), float(value.interval[1]))
    return MetricValue(value=float(value.value), interval=interval)


def _read_only(values: npt.ArrayLike, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Returns a view that raises an error if a metric changes it: the next metric gets the same numbers."""
    view = np.asarray(values, dtype=dtype).view()
    view.flags.writeable = False
    return view
