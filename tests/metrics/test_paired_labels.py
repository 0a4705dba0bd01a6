import numpy as np
import pytest

from zoo.metrics.multi_label import evaluate_labels
from zoo.metrics.paired_labels import compare_label_predictions

NAMES = ("fish", "shark", "starfish")
CUTS = (0.5, 0.4, 0.6)


def make_rows(noises, count=120, seed=0):
    """Returns labels, and for each noise the probabilities of a classifier that is the worse, the larger it is."""
    random = np.random.default_rng(seed)
    targets = (random.random((count, len(NAMES))) < [0.5, 0.3, 0.1]).astype(np.uint8)
    shown = random.normal(size=targets.shape)
    rows = [1 / (1 + np.exp(-(3 * targets - 1.5 + noise * shown))) for noise in noises]
    return [each.astype(np.float32) for each in rows], targets


def test_the_differences_are_those_of_the_two_evaluations():
    (first, second), targets = make_rows((2.0, 1.0))
    other = (0.3, 0.5, 0.7)
    found = compare_label_predictions("A", "B", (first, second), (CUTS, other), targets)
    one, two = evaluate_labels(first, targets, NAMES, CUTS), evaluate_labels(second, targets, NAMES, other)
    assert found.mean_ap == pytest.approx(two.mean_ap - one.mean_ap)
    assert found.macro_f1 == pytest.approx(two.macro_f1 - one.macro_f1)
    assert found.count == 120
    for value, (low, high) in ((found.mean_ap, found.interval), (found.macro_f1, found.macro_f1_interval)):
        assert low < value < high


def test_pairing_makes_intervals_narrower_than_those_of_each_model():
    (first, second), targets = make_rows((2.0, 1.8))
    low, high = compare_label_predictions("A", "B", (first, second), (CUTS, CUTS), targets).interval
    own = evaluate_labels(first, targets, NAMES, CUTS).intervals["mean_ap"]
    assert high - low < (own[1] - own[0]) / 2


def test_a_clear_difference_is_said_in_words_both_ways():
    (worse, better), targets = make_rows((3.0, 0.5))
    gain = compare_label_predictions("A", "B", (worse, better), (CUTS, CUTS), targets)
    loss = compare_label_predictions("B", "A", (better, worse), (CUTS, CUTS), targets)
    assert (gain.better, loss.better) == ("B", "B")
    low, high = (100 * each for each in gain.interval)
    points = f"{100 * gain.mean_ap:.1f} points of mAP ({low:.1f} to {high:.1f})."
    assert gain.describe().startswith(f"B is better than A by {points} B is better than A by ")
    assert " points of macro F1 (" in gain.describe()
    assert loss.describe().startswith(f"A is worse than B by {points}")


def test_the_same_predictions_have_no_difference_that_could_be_shown():
    (rows,), targets = make_rows((1.0,))
    same = compare_label_predictions("A", "B", (rows, rows), (CUTS, CUTS), targets)
    assert (same.better, same.mean_ap, same.interval, same.macro_f1) == ("", 0, (0, 0), 0)
    assert same.describe() == (
        "No difference in mAP between A and B can be shown with 120 photos: +0.0 points (+0.0 to +0.0). "
        "No difference in macro F1 between A and B can be shown with 120 photos: +0.0 points (+0.0 to +0.0)."
    )
    assert same.to_dict()["text"] == same.describe()


def test_a_label_that_a_single_photo_has_is_left_out_of_resamples_without_it():
    p = np.array([[0.9, 0.2], [0.8, 0.7], [0.3, 0.6], [0.1, 0.1]], dtype=np.float32)
    y = np.array([[1, 0], [1, 0], [0, 1], [0, 0]])
    found = compare_label_predictions("A", "B", (p, p[::-1].copy()), ((0.5, 0.5), (0.5, 0.5)), y)
    assert np.isfinite([found.mean_ap, found.macro_f1, *found.interval, *found.macro_f1_interval]).all()
