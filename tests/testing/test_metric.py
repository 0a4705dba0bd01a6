"""Each test breaks a metric in one way, and checks that the kit says which."""

from __future__ import annotations

import itertools
import math
import time
from typing import Any

import numpy as np
import pytest
from contract_offers import violation
from plugin_helpers import plugin_of

import zoo
import zoo.testing.metric
from zoo.testing import check_metric, check_plugin

_COUNTER = itertools.count()


def accuracy(request: zoo.MetricRequest) -> float:
    return float((request.probabilities.argmax(axis=1) == request.targets).mean())


def spec_of(compute: Any, **values: Any) -> zoo.MetricSpec:
    return zoo.MetricSpec(**{"name": "mine", "compute": compute, **values})


def good(request: zoo.MetricRequest) -> dict[str, zoo.MetricValue | float]:
    value = accuracy(request)
    return {
        "share": zoo.MetricValue(value=value, interval=(value / 2, (1 + value) / 2)),
        "photos": len(request.targets),
    }


def sorts_in_place(request: zoo.MetricRequest) -> dict[str, float]:
    value = accuracy(request)
    request.targets.sort()
    return {"share": value}


def recall_of_each(request: zoo.MetricRequest) -> dict[str, float]:
    """Gives only the classes that have photos."""
    right = request.probabilities.argmax(axis=1) == request.targets
    return {
        request.classes[label]: float(right[request.targets == label].mean()) for label in np.unique(request.targets)
    }


def worst_recall(request: zoo.MetricRequest) -> dict[str, float]:
    """Fails where a class has no photos."""
    support = np.bincount(request.targets, minlength=len(request.classes)).tolist()
    hits = [
        int(((request.probabilities.argmax(axis=1) == k) & (request.targets == k)).sum()) for k in range(len(support))
    ]
    return {"worst": min(hit / count for hit, count in zip(hits, support, strict=True))}


def infinite_loss(request: zoo.MetricRequest) -> dict[str, float]:
    with np.errstate(divide="ignore"):
        own = request.probabilities[np.arange(len(request.targets)), request.targets]
        return {"loss": float(-np.log(own).mean())}


def share_of_first_half(request: zoo.MetricRequest) -> dict[str, float]:
    half = max(1, len(request.targets) // 2)
    return {"share": float((request.probabilities.argmax(axis=1) == request.targets)[:half].mean())}


def bootstraps(request: zoo.MetricRequest) -> dict[str, float]:
    return {"share": accuracy(request) + 1e-3 * float(np.random.random())}


def counts_calls(request: zoo.MetricRequest) -> dict[str, float]:
    return {"share": accuracy(request) + next(_COUNTER)}


def loops(request: zoo.MetricRequest) -> dict[str, float]:
    right = 0
    for row, target in zip(request.probabilities.tolist(), request.targets.tolist(), strict=True):
        right += row.index(max(row)) == target
    return {"share": right / len(request.targets)}


def sleeps(request: zoo.MetricRequest) -> dict[str, float]:
    if len(request.targets) > 50_000:
        time.sleep(0.6)
    return {"share": accuracy(request)}


def expects_distributions(request: zoo.MetricRequest) -> dict[str, float]:
    if not np.allclose(request.probabilities.sum(axis=1), 1, atol=1e-3):
        raise ValueError("the rows do not sum to one")
    return {"share": accuracy(request)}


@pytest.mark.parametrize(
    ("compute", "message"),
    [
        (accuracy, "it returned float, not at least one value by name"),
        (lambda request: {"share": str(accuracy(request))}, "'share' is str, not a number or a zoo.MetricValue"),
        (lambda request: {"shares": np.array([accuracy(request)])}, "'shares' is ndarray, not a number"),
        (lambda request: {"a": zoo.MetricValue(value=1.0, interval=(0.1, 0.2))}, "which does not contain the value"),
        (
            infinite_loss,
            "where no prediction is right must return a value or a zoo.MetricValue by name; 'loss' is infinite",
        ),
        (sorts_in_place, "must not change probabilities or targets in place"),
        (worst_recall, "where a class has no photos raised ZeroDivisionError"),
        (recall_of_each, "must give values of the same names for all photos"),
        (share_of_first_half, "the values must not depend on the order of the photos"),
        (bootstraps, "must draw no random numbers from the global generator"),
        (counts_calls, "must return the same values for the same predictions"),
        (loops, "must not loop over the photos in Python"),
        (expects_distributions, "of sigmoids, whose rows do not sum to one raised ValueError"),
        (
            lambda request: {"error": 1 - accuracy(request)},
            "higher_is_better is True, but its first value, 'error', is 0",
        ),
    ],
)
def test_a_mistake_is_named(compute: Any, message: str) -> None:
    found = violation(lambda: check_metric(spec_of(compute)))
    assert found.startswith("metric mine: ")
    assert message in found


def test_a_slow_metric_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo.testing.metric, "SECONDS", 0.3)
    assert "for 100,000 photos raised TimeoutError" in violation(lambda: check_metric(spec_of(sleeps)))


def test_good_metrics_keep_the_contract() -> None:
    check_metric(spec_of(good))
    check_metric(spec_of(lambda request: {"error": 1 - accuracy(request)}, higher_is_better=False))
    check_metric(spec_of(lambda request: {"undefined": math.nan}))


def test_the_kit_of_a_plugin_checks_its_metrics() -> None:
    plugin = plugin_of(zoo_metrics=lambda: [spec_of(loops)])
    assert "metric mine: compute() must not loop" in violation(lambda: check_plugin(plugin))
