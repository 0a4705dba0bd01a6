"""Which of some outcomes a search chooses, on small arrays of losses."""

from dataclasses import replace

import numpy as np
import pytest
from searches import probe, source, tuned

from zoo.training.best.attempts import Attempt
from zoo.training.best.choice import PairedLoss, choose, choose_cheapest, is_default, rank

PHOTOS = 200
NOISE = np.random.default_rng(0).normal(0, 0.3, PHOTOS).astype(np.float32)


def losses(mean, noise=0.0, seed=1):
    """Losses that vary from photo to photo, as much as all others do, and by `noise` in their own way."""
    own = np.random.default_rng(seed).normal(0, 1, PHOTOS).astype(np.float32)
    return mean + NOISE + noise * (own - own.mean())


def test_a_paired_loss_has_the_standard_error_of_the_differences():
    first, second = losses(1.0), losses(0.9, noise=0.2)
    gain, error = PairedLoss.of(first, second)
    assert gain == pytest.approx(0.1, abs=1e-6)
    assert error == pytest.approx(float((first - second).std(ddof=1)) / PHOTOS**0.5, rel=1e-5)
    assert PairedLoss.of(first, second).exceeds(1.64)
    assert not PairedLoss.of(second, first).exceeds(0)
    assert not PairedLoss.of(first[:1], second[:1]).exceeds(0)


def test_the_cheaper_of_two_that_cannot_be_told_apart_is_chosen():
    slow, cheap = probe("slow", losses(0.50), ms=20), probe("cheap", losses(0.505, noise=0.2), ms=5)
    assert choose([slow, cheap]) is cheap
    assert choose([slow, probe("cheap", losses(0.60, noise=0.2), ms=5)]) is slow
    assert choose([slow, probe("hardly-cheaper", losses(0.505, noise=0.2), ms=19)]) is slow


def test_fine_tuning_replaces_a_probe_only_beyond_doubt():
    first = probe("a", losses(0.5), val=losses(0.5))
    doubtful, certain = losses(0.48, noise=0.2, seed=2), losses(0.40, noise=0.2, seed=2)
    assert choose([first, tuned("a", doubtful)]) is first
    better = tuned("a", certain)
    assert choose([first, better]) is better


def test_the_more_are_looked_at_the_more_it_takes():
    first = probe("a", losses(0.5), val=losses(0.5))
    gain, error = PairedLoss.of(losses(0.5), losses(0.475, noise=0.2, seed=2))
    assert 1.7 < gain / error < 1.9  # one of one is beyond doubt, one of five is not
    candidate = tuned("a", losses(0.475, noise=0.2, seed=2))
    assert choose([first, candidate]) is candidate
    others = [tuned("a", losses(0.6, noise=0.2, seed=3 + number), epochs=number) for number in range(4)]
    assert choose([first, candidate, *others]) is first


def test_a_run_in_which_the_probe_stayed_is_no_further_candidate():
    first = probe("a", losses(0.5), val=losses(0.5))
    assert choose([first, tuned("a", losses(0.1), best_epoch=0)]) is first


def test_those_trained_on_all_photos_come_before_those_on_some():
    some = probe("a", losses(0.1), photos=100)
    every = probe("b", losses(0.9))
    assert choose([some, every]) is every
    assert choose([some]) is some
    more = probe("c", losses(0.8), photos=400)
    assert choose([some, more]) is more


def test_failures_are_not_chosen():
    assert choose([]) is None
    assert choose([probe("a", losses(0.1), status="failed")]) is None


def test_probes_are_compared_by_cross_validation_if_all_have_it():
    first = probe("a", losses(0.5), val=losses(0.2))
    second = probe("b", losses(0.4), val=losses(0.3))
    assert rank([first, second]) == [second, first]
    without = probe("c", None, val=losses(0.25))
    assert [each.attempt.source for each in rank([first, second, without])] == [source("a"), source("c"), source("b")]


def test_the_cheapest_is_chosen_among_all_within_a_standard_error():
    outcomes = [
        probe("best", losses(0.50), ms=30),
        probe("middle", losses(0.502, noise=0.1), ms=20),
        probe("cheap", losses(0.503, noise=0.1), ms=10),
        probe("bad", losses(0.9, noise=0.1), ms=1),
    ]
    assert choose_cheapest(outcomes) is outcomes[2]


def test_the_probe_of_the_reference_stays_unless_another_is_better_beyond_doubt():
    first = probe("a", losses(0.50), ms=20)
    doubtful = probe("b", losses(0.49, noise=0.2), ms=5)
    assert choose([first, doubtful], source("a")) is first
    assert choose([first, doubtful]) is doubtful
    certain = probe("c", losses(0.40, noise=0.2, seed=2), ms=40)
    assert choose([first, doubtful, certain], source("a")) is certain


def test_of_the_probes_that_are_better_than_the_reference_the_best_is_chosen():
    first = probe("a", losses(0.50), ms=20)
    best, cheaper = probe("b", losses(0.400), ms=40), probe("c", losses(0.401, noise=0.1), ms=10)
    assert choose([first, cheaper, best], source("a")) is best


def test_fine_tuning_of_the_reference_counts_as_it_does_without_a_search():
    first = probe("a", losses(0.5), val=losses(0.5))
    usual = replace(tuned("a", losses(0.475, noise=0.2, seed=2)), attempt=Attempt(source=source("a"), image_size=224))
    others = [tuned("b", losses(0.6, noise=0.2, seed=3 + number), epochs=number) for number in range(4)]
    assert choose([first, usual, *others]) is first
    assert choose([first, usual, *others], source("a")) is usual
    assert is_default(usual, source("a"))
    assert not is_default(usual, source("b"))
