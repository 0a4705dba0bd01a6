import numpy as np
import pytest

from zoo.config.threshold_rule import ThresholdRule, parse_threshold_rule
from zoo.errors import ConfigError
from zoo.metrics.thresholds import choose_thresholds, decide

F1 = ThresholdRule(goal="f1")
SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.4, 0.3], dtype=np.float32)
OWN = np.array([1, 0, 1, 1, 0, 0])


def choose(rule, scores=SCORES, own=OWN):
    chosen = choose_thresholds(scores[:, None], own[:, None], rule, ("fish",))
    return chosen.values[0], chosen.notes


def measure(threshold, scores=SCORES, own=OWN):
    """Returns precision and recall."""
    found = decide(scores[:, None], (threshold,))[:, 0]
    return (found & (own == 1)).sum() / found.sum(), (found & (own == 1)).sum() / own.sum()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("f1", F1),
        ("0.3", ThresholdRule(goal="fixed", value=0.3)),
        ("precision=0.95", ThresholdRule(goal="precision", value=0.95)),
        ("recall=1", ThresholdRule(goal="recall", value=1.0)),
    ],
)
def test_a_rule_is_read(text, rule):
    assert parse_threshold_rule(text, owner="finetune") == rule


@pytest.mark.parametrize("text", ["", "f2", "1", "0", "-0.1", "nan", "precision", "precision=", "recall=1.1", "f1=1"])
def test_another_text_is_refused(text):
    with pytest.raises(ConfigError, match="option 'threshold' is") as caught:
        parse_threshold_rule(text, owner="finetune")
    assert "recall=0.9" in caught.value.hint


def test_the_threshold_of_the_highest_f1_lies_between_two_photos():
    assert choose(F1) == (pytest.approx(0.5), ())
    assert measure(0.5) == (3 / 4, 1)


def test_no_threshold_has_a_higher_f1():
    random = np.random.default_rng(0)
    for _ in range(50):
        scores, own = random.random(30).round(1).astype(np.float32), (random.random(30) < 0.3).astype(int)
        own[0] = 1
        f1s = []
        for threshold in (choose(F1, scores, own)[0], *np.linspace(0, 1, 101)):
            found = scores >= np.float32(threshold)
            f1s.append(2 * (found & (own == 1)).sum() / (found.sum() + own.sum()))
        assert f1s[0] == max(f1s)


def test_a_precision_is_reached_with_the_highest_recall():
    threshold, notes = choose(ThresholdRule(goal="precision", value=0.75))
    assert measure(threshold) == (3 / 4, 1)
    assert notes == ()
    assert measure(choose(ThresholdRule(goal="precision", value=0.9))[0]) == (1, 1 / 3)


def test_a_recall_is_reached_with_the_highest_precision():
    assert measure(choose(ThresholdRule(goal="recall", value=0.6))[0]) == (3 / 4, 1)
    assert measure(choose(ThresholdRule(goal="recall", value=0.3))[0]) == (1, 1 / 3)


def test_a_precision_that_cannot_be_reached_is_reported():
    threshold, notes = choose(ThresholdRule(goal="precision", value=0.9), own=np.array([0, 1, 1, 0, 0, 0]))
    assert measure(threshold, own=np.array([0, 1, 1, 0, 0, 0])) == (2 / 3, 1)
    assert notes == ("No threshold gives a precision of 90 % on validation photos for label fish (67 %).",)


def test_labels_without_photos_and_fixed_thresholds():
    threshold, notes = choose(F1, own=np.zeros(6, dtype=int))
    assert threshold == 0.5
    assert notes == ("No validation photo has the label fish: the threshold is 0.5.",)
    assert choose(ThresholdRule(goal="fixed", value=0.3)) == (float(np.float32(0.3)), ())


def test_equal_probabilities_are_decided_alike():
    scores = np.array([0.6, 0.6, 0.6, 0.1], dtype=np.float32)
    threshold, _ = choose(F1, scores, np.array([1, 1, 0, 0]))
    assert decide(scores[:, None], (threshold,))[:, 0].tolist() == [True, True, True, False]


def test_thresholds_are_exact_in_float32_even_between_neighbours():
    low = np.float32(0.5)
    high = np.nextafter(low, np.float32(1))
    threshold, _ = choose(F1, np.array([high, low], dtype=np.float32), np.array([1, 0]))
    assert threshold == float(np.float32(threshold))
    assert decide(np.array([[high], [low]]), (threshold,))[:, 0].tolist() == [True, False]
