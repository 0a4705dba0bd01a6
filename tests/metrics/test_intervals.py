import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from zoo.metrics.intervals import (
    format_mean,
    grouped_interval,
    mean_interval,
    paired_interval,
    paired_loss_bound,
    paired_loss_p,
    paired_p,
    wilson_interval,
)


def test_wilson_interval_of_800_photos():
    low, high = wilson_interval(744, 800)
    assert (low, high) == (pytest.approx(0.9102, abs=5e-5), pytest.approx(0.9457, abs=5e-5))


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_matches_scipy(case):
    correct, count = case
    expected = scipy.stats.binomtest(correct, count).proportion_ci(method="wilson")
    assert wilson_interval(correct, count) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_interval_is_exact_at_its_ends():
    assert wilson_interval(0, 7)[0] == 0
    assert wilson_interval(7, 7)[1] == 1


def test_photos_that_are_copies_count_once():
    right = [number % 4 > 0 for number in range(80)]
    alone = grouped_interval(right, range(80))
    copied = grouped_interval(
        [each for each in right for _ in range(5)], [number for number in range(80) for _ in range(5)]
    )
    assert copied == pytest.approx(alone, abs=1e-12)
    assert alone == pytest.approx(wilson_interval(60, 80), abs=2e-3)


def test_groups_that_do_not_matter_leave_the_interval_as_it_is():
    right = [number % 4 > 0 for number in range(80)]
    assert grouped_interval(right, [number // 4 for number in range(80)]) == pytest.approx(wilson_interval(15, 20))
    draw = np.random.default_rng(0)
    right, groups = draw.random(4000) < 0.7, draw.integers(1000, size=4000)
    low, high = wilson_interval(int(right.sum()), 4000)
    assert grouped_interval(right.tolist(), groups.tolist()) == pytest.approx((low, high), abs=2e-3)


def test_without_mistakes_there_are_as_many_photos_as_groups():
    assert grouped_interval([True] * 40, [number // 10 for number in range(40)]) == wilson_interval(4, 4)
    assert grouped_interval([False] * 40, ["a"] * 40) == wilson_interval(0, 1)


def test_the_interval_with_groups_holds_the_truth_as_often_as_it_says():
    draw, held = np.random.default_rng(1), 0
    for _ in range(300):
        ability = draw.beta(4, 1, size=60).repeat(8)  # of 60 patients with eight photos each; 0.8 on average
        low, high = grouped_interval((draw.random(480) < ability).tolist(), np.arange(60).repeat(8).tolist())
        held += low <= 0.8 <= high
    assert 0.92 <= held / 300 <= 0.98


def test_mean_interval_of_three_seeds():
    mean, half = mean_interval([0.90, 0.92, 0.94])
    assert mean == pytest.approx(0.92)
    assert half == pytest.approx(4.302653 * 0.02 / math.sqrt(3), rel=1e-6)  # t of 2 degrees of freedom, 0.975


@pytest.mark.parametrize("values", [[0.9], [0.8, 0.9]])
def test_fewer_than_three_seeds_have_no_interval(values):
    assert mean_interval(values) == (pytest.approx(np.mean(values)), None)


@given(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=20))
def test_mean_interval_matches_scipy(values):
    mean, half = mean_interval(values)
    spread = scipy.stats.sem(values)
    expected = spread * scipy.stats.t.ppf(0.975, len(values) - 1)
    assert mean == pytest.approx(np.mean(values), abs=1e-9)
    assert half == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("accuracies", "text"),
    [
        ([0.90, 0.92, 0.94], "92.0 % ± 5.0"),
        ([0.624, 0.844], "73.4 % (too few runs for an interval)"),
        ([0.9], "90.0 % (too few runs for an interval)"),
    ],
)
def test_format_mean_replaces_the_interval_of_too_few_runs_by_a_remark(accuracies, text):
    assert format_mean(accuracies) == text


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (5, 0), (8, 1), (30, 22), (3, 9)])
def test_paired_test_matches_scipy(lost, gained):
    expected = scipy.stats.binomtest(lost, lost + gained, 0.5, alternative="greater").pvalue if lost + gained else 1
    assert paired_loss_p(lost, gained) == pytest.approx(expected)
    two_sided = scipy.stats.binomtest(lost, lost + gained, 0.5).pvalue if lost + gained else 1
    assert paired_p(lost, gained) == paired_p(gained, lost) == pytest.approx(two_sided)


def test_a_bound_without_any_difference_is_near_the_rule_of_three():
    """With n photos and no event, the upper 95 % bound of its probability is 3 / n (Hanley and Lippman-Hand 1983)."""
    for count in (71, 800, 3000):
        assert 0.6 * 3 / count < paired_loss_bound(0, 0, count) < 1.1 * 3 / count


@pytest.mark.parametrize("count", [71, 400])
@pytest.mark.parametrize(("lost", "gained"), [(0.01, 0.01), (0.03, 0.01), (0.1, 0.05)])
def test_a_bound_covers_the_true_loss_in_at_least_19_of_20_samples(count, lost, gained):
    random = np.random.default_rng(0)
    samples = random.multinomial(count, [lost, gained, 1 - lost - gained], size=4000)
    covered = [paired_loss_bound(int(a), int(b), count) >= lost - gained for a, b, _ in samples]
    assert np.mean(covered) > 0.94


@pytest.mark.parametrize(("lost", "gained"), [(0.01, 0.01), (0.03, 0.01), (0.1, 0.05)])
def test_an_interval_covers_the_true_difference_in_at_least_19_of_20_samples(lost, gained):
    random = np.random.default_rng(0)
    intervals = [
        paired_interval(int(a), int(b), 152)
        for a, b, _ in random.multinomial(152, [lost, gained, 1 - lost - gained], size=4000)
    ]
    assert np.mean([low <= gained - lost <= high for low, high in intervals]) > 0.94
    assert paired_interval(5, 9, 152) == pytest.approx([-each for each in reversed(paired_interval(9, 5, 152))])
