import numpy as np
import pytest

from zoo.metrics.slices import MIN_PHOTOS, adjust_holm, find_slices


def make_correct(count, wrong):
    correct = np.ones(count, dtype=bool)
    correct[list(wrong)] = False
    return correct


def test_quarters_of_a_property_are_compared_with_the_other_photos():
    brightness = np.arange(80.0)
    correct = make_correct(80, range(0, 20, 2))
    first, *others = find_slices(correct, np.zeros(80, dtype=np.int64), {"brightness": brightness})
    assert (first.title, first.count) == ("brightness: lowest (0 to 19)", 20)
    assert (first.accuracy, first.rest, first.is_worse) == (0.5, 1.0, True)
    assert first.interval[0] < 0.5 < first.interval[1]
    assert len(others) == 3
    assert not any(each.is_worse for each in others)


def test_the_test_is_fishers():
    correct = make_correct(60, [0, 1, 2, 3, 4, 30, 31])
    found = find_slices(correct, np.zeros(60, dtype=np.int64), {"size": np.repeat([1.0, 2.0, 3.0, 4.0], 15)})
    lowest = next(each for each in found if each.name == "lowest")
    # scipy.stats.fisher_exact([[10, 5], [43, 2]], alternative="less").pvalue
    assert lowest.p == pytest.approx(0.0082977, rel=1e-4)
    assert lowest.p_adjusted == pytest.approx(4 * lowest.p)


def test_what_is_due_to_difficult_classes_shows():
    labels = np.repeat([0, 1], 40)
    correct = make_correct(80, range(0, 40, 2))  # class 0 is half wrong, whatever its brightness
    first, *_ = find_slices(correct, labels, {"brightness": np.repeat([1.0, 2.0, 3.0, 4.0], 20)})
    assert first.is_worse
    assert (first.accuracy, first.expected) == (0.5, 0.5)


def test_groups_are_slices_and_small_ones_are_left_out():
    groups = ["a"] * 20 + ["b"] * (MIN_PHOTOS - 1) + [""] * 40
    correct = make_correct(len(groups), range(12))
    (found,) = find_slices(correct, np.zeros(len(groups), dtype=np.int64), {}, groups)
    assert (found.title, found.low, found.is_worse) == ("group: a", None, True)
    assert found.to_dict()["is_worse"]


def test_equal_values_stay_together_and_unknown_ones_are_in_no_slice():
    values = np.array([1.0] * 30 + [2.0] * 30 + [np.nan] * 20)
    found = find_slices(make_correct(80, []), np.zeros(80, dtype=np.int64), {"aspect": values})
    assert sorted((each.low, each.high, each.count) for each in found) == [(1.0, 1.0, 30), (2.0, 2.0, 30)]
    assert not any(each.is_worse for each in found)


def test_chance_alone_finds_no_slice_more_often_than_promised():
    random = np.random.default_rng(0)
    found = 0
    for _ in range(200):
        properties = {name: random.random(200) for name in "abcd"}
        correct = random.random(200) < 0.8
        found += any(each.is_worse for each in find_slices(correct, np.zeros(200, dtype=np.int64), properties))
    assert found <= 0.05 * 200 + 5


def test_holm():
    assert adjust_holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert adjust_holm([]) == []
