import numpy as np
import pytest

from zoo.metrics.label_errors import judge_labels

CLASSES = 3


def make_predictions(count, *, seed=0, strength=3.0):
    """Returns probabilities of noisy predictions, and the true classes."""
    random = np.random.default_rng(seed)
    true = random.integers(0, CLASSES, count)
    logits = random.normal(size=(count, CLASSES)) + strength * np.eye(CLASSES)[true]
    p = np.exp(logits)
    return p / p.sum(axis=1, keepdims=True), true


def plant(true, share=0.1):
    labels = true.copy()
    planted = np.zeros(len(true), dtype=bool)
    planted[: round(share * len(true))] = True
    labels[planted] = (labels[planted] + 1) % CLASSES
    return labels, planted


def test_planted_errors_come_first():
    p, true = make_predictions(600)
    labels, planted = plant(true)
    found = judge_labels(p, labels)
    assert planted[found.order[:60]].mean() > 0.75
    assert sorted(found.order.tolist()) == [*range(600)]
    assert found.count == pytest.approx(60, abs=25)
    assert found.estimated_errors == pytest.approx(60, abs=30)
    assert (found.suggested[found.order[: found.count]] != labels[found.order[: found.count]]).all()


def test_right_labels_give_few_suspects():
    p, true = make_predictions(600, strength=8.0)
    found = judge_labels(p, true)
    assert found.count < 12
    assert found.joint.sum() == pytest.approx(600)


def test_the_joint_counts_labels_by_what_they_confidently_are():
    # Thresholds: 0.7 for the first class, 0.6 for the second.
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.2, 0.8], [0.2, 0.8], [0.8, 0.2]])
    labels = np.array([0, 0, 0, 1, 1, 1])
    found = judge_labels(p, labels)
    assert found.joint.tolist() == [[2, 1], [1, 2]]
    assert found.order[:2].tolist() == [5, 2]  # 0.2 for its label, then 0.3
    assert found.count == 2
    assert found.estimated_errors == 2


def test_a_class_without_photos_is_no_suggestion_that_counts():
    p = np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.1, 0.8, 0.1]])
    found = judge_labels(p, np.array([0, 0, 1]))
    assert found.count == 0
    assert found.joint[:2, :2].tolist() == [[2, 0], [0, 1]]
    assert found.joint[2, 2] == 0
