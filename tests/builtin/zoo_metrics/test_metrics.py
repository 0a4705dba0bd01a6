from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import zoo
from zoo.metrics.chosen import compute_metrics, merge_values
from zoo.metrics.classification import evaluate_predictions
from zoo.metrics.intervals import wilson_interval
from zoo.plugins.kinds import METRIC
from zoo.testing import check_plugin

CLASSES = ("cat", "dog", "pig")
REGISTRY = zoo.load_registry()


def make_predictions(count: int = 400, *, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns probabilities and labels; the later classes are rarer, and three of four predictions are right."""
    random = np.random.default_rng(seed)
    labels = np.minimum(random.geometric(0.5, count) - 1, classes - 1)
    scores = random.standard_normal((count, classes)) + 1.8 * np.eye(classes)[labels]
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return p.astype(np.float32), labels


def compute(name: str, p: Any, labels: Any, classes: tuple[str, ...] = CLASSES, **options: Any) -> Any:
    choice = REGISTRY.choose(METRIC, f"metrics/{name}", options)
    return merge_values(compute_metrics([choice], p, labels, classes))


def test_the_plugin_keeps_the_contract() -> None:
    check_plugin("zoo_metrics")


def test_the_values_are_those_of_the_evaluation() -> None:
    p, labels = make_predictions()
    evaluation = evaluate_predictions(p, labels, CLASSES)
    assert compute("accuracy", p, labels)["accuracy"] == zoo.MetricValue(
        value=evaluation.accuracy, interval=evaluation.interval
    )
    assert compute("macro-f1", p, labels)["macro_f1"].value == pytest.approx(evaluation.macro_f1)
    assert compute("log-loss", p, labels)["log_loss"].value == pytest.approx(evaluation.loss)
    assert compute("calibration-error", p, labels)["calibration_error"] == zoo.MetricValue(
        value=evaluation.calibration_error
    )
    recalls = compute("recall", p, labels)
    for scores in evaluation.per_class:
        hits = round(scores.recall * scores.support)
        wanted = zoo.MetricValue(value=scores.recall, interval=wilson_interval(hits, scores.support))
        assert recalls[f"recall/{scores.name}"] == wanted
    mean = sum(scores.recall for scores in evaluation.per_class) / 3
    assert compute("balanced-accuracy", p, labels)["balanced_accuracy"].value == pytest.approx(mean)


def test_top_k_accuracy_counts_the_most_probable_classes() -> None:
    p = [[0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.4, 0.4, 0.2]]
    labels = [1, 0, 1]
    values = [compute("accuracy", p, labels, k=k)["accuracy"].value for k in (1, 2, 3, 9)]
    assert values == [0, pytest.approx(2 / 3), 1, 1]


def test_a_class_without_photos_has_no_recall_and_counts_for_no_mean() -> None:
    p, labels = [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.7, 0.3, 0.0]], [0, 1, 1]
    recalls = compute("recall", p, labels)
    assert math.isnan(recalls["recall/pig"].value)
    assert recalls["recall/pig"].interval is None
    assert compute("balanced-accuracy", p, labels)["balanced_accuracy"].value == pytest.approx(0.75)
    assert compute("macro-f1", p, labels)["macro_f1"].value == pytest.approx((2 / 3 + 2 / 3) / 2)


def test_intervals_are_never_empty_where_everything_is_right_but_f1_has_none() -> None:
    p, labels = np.eye(3, dtype=np.float32), np.arange(3)
    assert compute("accuracy", p, labels)["accuracy"].interval == wilson_interval(3, 3)
    low, high = compute("balanced-accuracy", p, labels)["balanced_accuracy"].interval
    assert low < 0.8
    assert high == 1
    assert compute("macro-f1", p, labels)["macro_f1"] == zoo.MetricValue(value=1.0)
    assert compute("log-loss", p[:1], labels[:1])["log_loss"] == zoo.MetricValue(value=0.0)


@pytest.mark.parametrize("name", ["balanced-accuracy", "macro-f1", "log-loss"])
def test_intervals_cover_the_value_of_many_photos_in_nineteen_of_twenty_samples(name: str) -> None:
    everything = make_predictions(200_000, seed=1)
    (truth,) = compute(name, *everything).values()
    covered = 0
    for seed in range(200):
        chosen = np.random.default_rng(seed).integers(0, 200_000, 300)
        ((low, high),) = [value.interval for value in compute(name, *(each[chosen] for each in everything)).values()]
        covered += low <= truth.value <= high
    assert 180 <= covered <= 200


def test_the_number_of_bins_is_an_option() -> None:
    p, labels = make_predictions()
    (value,) = compute("calibration-error", p, labels, bins=1).values()
    assert value.value == pytest.approx(abs(float(p.max(axis=1).mean()) - float((p.argmax(axis=1) == labels).mean())))
