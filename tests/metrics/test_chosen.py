from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from fakes import make_registry
from plugin_helpers import plugin_of

import zoo
from zoo.errors import ConfigError, PluginError
from zoo.metrics.chosen import check_metrics, compute_metrics, merge_values, metric_fault
from zoo.plugins.kinds import METRIC

P, LABELS, CLASSES = np.array([[0.9, 0.1], [0.4, 0.6]], dtype=np.float32), np.array([0, 0]), ("cat", "dog")


def metric(compute: Any, name: str = "mine") -> Any:
    spec = zoo.MetricSpec(name=name, compute=compute)
    return make_registry(plugin_of(zoo_metrics=lambda: [spec]), "acme").choose(METRIC, name, {})


def test_values_and_plain_numbers_are_returned_by_metric_and_name() -> None:
    first = metric(lambda request: {"a": 0.5, "b": np.float32(2)}, "first")
    second = metric(lambda request: {"c": zoo.MetricValue(value=1, interval=(0, 2))}, "second")
    found = compute_metrics([first, second], P, LABELS, CLASSES)
    assert found == {
        "acme/first": {"a": zoo.MetricValue(value=0.5), "b": zoo.MetricValue(value=2.0)},
        "acme/second": {"c": zoo.MetricValue(value=1.0, interval=(0.0, 2.0))},
    }
    assert list(merge_values(found)) == ["a", "b", "c"]
    assert compute_metrics([], P, LABELS, CLASSES) == {}


def test_a_metric_is_called_once_with_all_photos() -> None:
    seen: list[zoo.MetricRequest] = []

    def compute(request: zoo.MetricRequest) -> dict[str, float]:
        seen.append(request)
        return {"count": len(request.targets)}

    compute_metrics([metric(compute)], P, LABELS, CLASSES)
    (request,) = seen
    assert request.probabilities.shape == (2, 2)
    assert (request.probabilities.dtype, request.targets.dtype) == (np.float32, np.int64)
    assert request.classes == CLASSES


def change(request: zoo.MetricRequest) -> dict[str, float]:
    request.probabilities[0] = 0
    return {"a": 1.0}


def test_a_metric_cannot_change_what_the_next_one_gets() -> None:
    with pytest.raises(PluginError, match=r"acme:acme failed while computing 'mine': ValueError: .*read-only"):
        compute_metrics([metric(change)], P, LABELS, CLASSES)
    assert P[0, 0] == np.float32(0.9)


def test_a_failure_may_be_tolerated() -> None:
    failures: list[str] = []
    good, bad = metric(lambda request: {"a": 1.0}, "good"), metric(change, "bad")
    found = compute_metrics(
        [bad, good], P, LABELS, CLASSES, on_failure=lambda each, error: failures.append(each.offer.name)
    )
    assert found == {"acme/good": {"a": zoo.MetricValue(value=1.0)}}
    assert failures == ["acme/bad"]


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"a": 1.0, "b": math.nan}, ""),
        ({"a": zoo.MetricValue(value=0.5, interval=(0.5, 0.5))}, ""),
        (0.5, "it returned float, not at least one value by name"),
        ({}, "it returned dict"),
        ({1: 0.5}, "the name of a value is 1"),
        ({"a": "high"}, "'a' is str, not a number"),
        ({"a": True}, "'a' is bool"),
        ({"a": np.zeros(3)}, "'a' is ndarray"),
        ({"a": math.inf}, "'a' is infinite"),
        ({"a": zoo.MetricValue(value=0.5, interval=(0.6, 0.7))}, "which does not contain the value 0.5"),
        ({"a": zoo.MetricValue(value=math.nan, interval=(0.6, 0.7))}, "which does not contain the value nan"),
        ({"a": zoo.MetricValue(value=0.5, interval=(math.nan, 1.0))}, "without one it is None"),
        ({"a": zoo.MetricValue(value=0.5, interval=0.1)}, "is 0.1, not two numbers"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_result_is_described(values: object, fault: str) -> None:
    found = metric_fault(values)
    assert fault in found
    assert bool(found) == bool(fault)


def test_metrics_are_tried_before_any_slow_work() -> None:
    check_metrics([metric(lambda request: {"a": 1.0})], CLASSES)
    check_metrics([metric(lambda request: {"a": 1.0})], [f"class {number}" for number in range(1000)])
    with pytest.raises(PluginError, match="acme:acme failed while computing 'mine'"):
        check_metrics([metric(change)], CLASSES)


def test_two_metrics_may_not_give_values_of_one_name() -> None:
    both = [metric(lambda request: {"a": 1.0}, name) for name in ("one", "two")]
    with pytest.raises(ConfigError, match="acme/one and acme/two both give a value 'a'"):
        check_metrics(both, CLASSES)
