import dataclasses

import numpy as np
import pytest

from zoo.metrics.classification import evaluate_predictions
from zoo.metrics.paired import compare_predictions

CLASSES = ("a", "b", "c")


def make_predictions(labels, wrong, rng):
    """Returns the labels, with some of them replaced by another class."""
    predicted = labels.copy()
    places = rng.choice(len(labels), wrong, replace=False)
    predicted[places] = (labels[places] + 1) % len(CLASSES)
    return predicted


@pytest.fixture
def photos():
    """Labels of 300 photos, and the predictions of a classifier with 60 mistakes and of one with 20."""
    rng = np.random.default_rng(1)
    labels = rng.integers(len(CLASSES), size=300)
    return labels, make_predictions(labels, 60, rng), make_predictions(labels, 20, rng)


def test_a_difference_is_that_of_the_two_evaluations(photos):
    labels, first, second = photos
    difference = compare_predictions("A", "B", (first, second), labels)
    one, two = (evaluate_predictions(np.eye(3)[each], labels, CLASSES) for each in (first, second))
    assert difference.accuracy == pytest.approx(two.accuracy - one.accuracy)
    assert difference.accuracy == pytest.approx(40 / 300)
    assert difference.macro_f1 == pytest.approx(two.macro_f1 - one.macro_f1)
    assert difference.gained - difference.lost == 40
    assert difference.interval[0] < difference.accuracy < difference.interval[1]
    assert difference.macro_f1_interval[0] < difference.macro_f1 < difference.macro_f1_interval[1]


def test_the_sentence_names_the_better_one(photos):
    labels, first, second = photos
    up = compare_predictions("A", "B", (first, second), labels)
    down = compare_predictions("B", "A", (second, first), labels)
    assert (up.better, down.better) == ("B", "B")
    low, high = (100 * each for each in up.interval)
    assert up.describe() == f"B is better than A by 13.3 points ({low:.1f} to {high:.1f})."
    assert down.describe() == f"A is worse than B by 13.3 points ({low:.1f} to {high:.1f})."


def test_a_difference_that_chance_explains_is_none(photos):
    labels, first, _ = photos
    second = first.copy()
    second[np.flatnonzero(first != labels)[:2]] = labels[np.flatnonzero(first != labels)[:2]]
    difference = compare_predictions("A", "B", (first, second), labels)
    assert (difference.gained, difference.lost, difference.p, difference.better) == (2, 0, 0.5, "")
    assert difference.describe().startswith("No difference between A and B can be shown with 300 photos: +0.7 points (")
    # The interval alone does not decide where the exact test finds too few differences.
    assert dataclasses.replace(difference, interval=(0.001, 0.02)).better == ""


def test_the_same_predictions_differ_by_nothing(photos):
    labels, first, _ = photos
    difference = compare_predictions("A", "B", (first, first), labels)
    assert (difference.accuracy, difference.macro_f1, difference.p) == (0, 0, 1)
    assert difference.macro_f1_interval == (0, 0)
    assert difference.to_dict()["text"] == difference.describe()
