import numpy as np
import pytest
from drawn_logits import draw_probabilities

from zoo.errors import ConfigError
from zoo.metrics.calibration import MAX_SCORES, PredictionSets
from zoo.metrics.conformal import choose_sets, class_scores, find_sets

P = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])


def test_scores_of_classes():
    assert class_scores(P, "lac") == pytest.approx(1 - P)
    # What comes before a class; of equal ones the first.
    assert class_scores(P, "aps") == pytest.approx(np.array([[0, 0.5, 0.8], [0.8, 0.9, 0]]))


def test_a_set_has_the_classes_up_to_the_quantile_and_always_the_first():
    assert find_sets(P, "aps", 0.5).tolist() == [[True, True, False], [False, False, True]]
    assert find_sets(P, "lac", 0.1).tolist() == [[True, False, False], [False, False, True]]
    assert find_sets(P, "lac", 0.9).all()


@pytest.mark.parametrize("score", ["lac", "aps"])
@pytest.mark.parametrize("coverage", [0.8, 0.95])
def test_sets_have_the_right_class_as_often_as_promised(score, coverage):
    measured = []
    for seed in range(40):
        p, labels = draw_probabilities(600, seed=seed)
        known, new = np.arange(600) < 200, np.arange(600) >= 200
        own = class_scores(p[known], score)[np.arange(200), labels[known]]
        sets = PredictionSets.from_scores(score, np.sort(own).tolist())
        found = find_sets(p[new], score, sets.quantile(coverage))
        measured.append(found[np.arange(400), labels[new]].mean())
    # The mean of 40 draws has a standard error of about 0.0055; sets of APS are larger than needed, without randomness.
    assert coverage - 0.02 < np.mean(measured) < coverage + (0.02 if score == "lac" else 0.06)


@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.95])
def test_the_quantile_is_that_of_finite_samples(coverage):
    scores = np.sort(np.random.default_rng(0).random(99)).tolist()
    sets = PredictionSets.from_scores("lac", scores)
    assert sets.quantile(coverage) == pytest.approx(scores[int(np.ceil(100 * coverage)) - 1], abs=2e-6)


def test_of_many_scores_few_are_stored_and_the_coverage_still_holds():
    scores = np.sort(np.random.default_rng(0).random(5001)).tolist()
    sets = PredictionSets.from_scores("lac", scores)
    assert len(sets.scores) == MAX_SCORES
    assert sets.scores[-1] >= scores[-1]
    for coverage in (0.5, 0.9, 0.995, 0.9998):
        exact = scores[int(np.ceil(5002 * coverage)) - 1]
        assert exact <= sets.quantile(coverage) <= exact + 0.005


def test_too_few_photos_are_named_with_the_number_needed():
    sets = PredictionSets.from_scores("lac", [0.1] * 45)
    assert sets.quantile(0.95) == 0.1
    with pytest.raises(ConfigError) as caught:
        sets.quantile(0.99)
    assert caught.value.message == ("A coverage of 99 % needs 99 photos that did not train the network; there were 45.")
    assert caught.value.hint == "They are enough for 97.8 %. More training photos allow more."
    assert PredictionSets.from_scores("lac", [0.1] * 99).quantile(0.99) == 0.1


@pytest.mark.parametrize("coverage", [0, 1, -0.5, 1.5, float("nan")])
def test_a_coverage_is_between_zero_and_one(coverage):
    with pytest.raises(ConfigError, match="The coverage is"):
        PredictionSets.from_scores("lac", [0.1]).quantile(coverage)


def test_the_score_with_the_smaller_sets_is_chosen():
    p, labels = draw_probabilities(400, seed=0)
    chosen = choose_sets(p, labels, seed=0)
    sizes = {score: np.mean([each["size"] for each in rows]) for score, rows in chosen.compared.items()}
    assert set(sizes) == {"lac", "aps"}
    assert chosen.score == min(sizes, key=sizes.get)
    assert chosen.photos == 400
    assert all(abs(each["coverage"] - each["promised"]) < 0.03 for each in chosen.compared[chosen.score])


@pytest.mark.parametrize("count", [1, 3, 12])
def test_few_photos_have_sets_of_what_coverage_they_allow(count):
    p, labels = draw_probabilities(count, seed=0)
    chosen = choose_sets(p, labels, seed=0)
    assert chosen.photos == count
    assert chosen.score == "lac" or count == 12  # fewer allow no comparison
    assert chosen.quantile(0.4) >= 0
