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
    values = [dict(compute("accuracy", p, labels, k=k)) for k in (1, 2, 3, 9)]
    assert [name for each in values for name in each] == [
        "accuracy",
        "top_2_accuracy",
        "top_3_accuracy",
        "top_9_accuracy",
    ]
    assert [value.value for each in values for value in each.values()] == [0, pytest.approx(2 / 3), 1, 1]


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


def binary(scores: list[float]) -> np.ndarray:
    """Returns probabilities of two classes, for the scores of the second."""
    return np.stack([1 - np.array(scores), scores], axis=1).astype(np.float32)


def test_the_areas_of_a_textbook_example() -> None:
    """Of the scores 0.1, 0.35, 0.4, 0.8, the second and the last are hits: of four pairs, one is in the wrong order."""
    p, labels = binary([0.1, 0.4, 0.35, 0.8]), [0, 0, 1, 1]
    assert compute("roc-auc", p, labels, ("no", "yes"))["roc_auc"].value == pytest.approx(3 / 4)
    # For "yes" the precisions are 1 and 2/3; for "no" they are the same, from the other end.
    assert compute("average-precision", p, labels, ("no", "yes"))["average_precision"].value == pytest.approx(5 / 6)


def test_equal_probabilities_count_half_in_the_roc_and_together_in_precision() -> None:
    p, labels = binary([0.5] * 4), [0, 1, 1, 1]
    assert compute("roc-auc", p, labels, ("no", "yes"))["roc_auc"].value == 0.5
    assert compute("average-precision", p, labels, ("no", "yes"))["average_precision"].value == 0.5  # of 1/4 and 3/4


def test_ranking_averages_over_the_classes_that_can_be_ranked() -> None:
    p = [[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.2, 0.7, 0.1], [0.7, 0.2, 0.1]]
    labels = [0, 0, 1, 1]
    # Of "cat", the pairs of 0.6 and 0.5 with 0.2 and 0.7: half are right; of "dog" as well; "pig" has no photos.
    assert compute("roc-auc", p, labels)["roc_auc"].value == pytest.approx(0.5)
    alone = compute("roc-auc", p[:2], labels[:2])["roc_auc"]
    assert math.isnan(alone.value)
    assert alone.interval is None


def test_cohens_kappa_of_a_textbook_example() -> None:
    """Two readers, 50 applications: both yes 20, both no 15, 5 and 10 apart; 0.7 agree, 0.5 by chance."""
    pairs = [(0, 0)] * 20 + [(0, 1)] * 5 + [(1, 0)] * 10 + [(1, 1)] * 15
    labels, guesses = np.array(pairs).T
    value = compute("cohens-kappa", np.eye(2, dtype=np.float32)[guesses], labels, ("yes", "no"))["cohens_kappa"]
    assert value.value == pytest.approx(0.4)
    # Fleiss, Cohen and Everitt's standard error for these counts.
    assert value.interval == pytest.approx((0.4 - 1.96 * 0.1268, 0.4 + 1.96 * 0.1268), abs=2e-3)
    assert math.isnan(compute("cohens-kappa", [[1.0, 0.0]] * 3, [0, 0, 0], ("yes", "no"))["cohens_kappa"].value)


def test_the_brier_score_is_summed_over_the_classes() -> None:
    p = [[0.7, 0.2, 0.1], [0.0, 0.0, 1.0]]
    value = compute("brier-score", p, [0, 1])["brier_score"]
    assert value.value == pytest.approx((0.09 + 0.04 + 0.01 + 2) / 2)
    assert value.interval is not None
    assert compute("brier-score", p[:1], [0])["brier_score"].interval is None


def test_precision_counts_the_photos_predicted_as_a_class() -> None:
    p, labels = [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.7, 0.3, 0.0]], [0, 1, 1]
    values = compute("precision", p, labels)
    assert values["precision/cat"] == zoo.MetricValue(value=0.5, interval=wilson_interval(1, 2))
    assert values["precision/dog"].value == 1
    assert math.isnan(values["precision/pig"].value)


_WITH_INTERVALS = [
    "balanced-accuracy",
    "macro-f1",
    "log-loss",
    "roc-auc",
    "average-precision",
    "cohens-kappa",
    "brier-score",
]


@pytest.mark.parametrize("name", _WITH_INTERVALS)
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
