import json
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from zoo.errors import DataError, TrainingError
from zoo.metrics.evaluation import calibration_error, evaluate_predictions, mean_interval, wilson_interval

# Five photos of cat, cat, cat, dog, bird; predicted cat, cat, dog, dog, dog.
PROBABILITIES = np.array([[0.8, 0.1, 0.1], [0.6, 0.2, 0.2], [0.3, 0.5, 0.2], [0.1, 0.8, 0.1], [0.2, 0.5, 0.3]])
LABELS = np.array([0, 0, 0, 1, 2])
CLASSES = ("cat", "dog", "bird")


def test_a_case_done_by_hand():
    found = evaluate_predictions(PROBABILITIES, LABELS, CLASSES)
    assert found.count == 5
    assert found.accuracy == 0.6
    assert found.confusion == ((2, 1, 0), (0, 1, 0), (0, 1, 0))
    cat, dog, bird = found.per_class
    assert (cat.name, cat.precision, cat.recall, cat.f1, cat.support) == ("cat", 1.0, pytest.approx(2 / 3), 0.8, 3)
    assert (dog.name, dog.precision, dog.recall, dog.f1, dog.support) == ("dog", pytest.approx(1 / 3), 1.0, 0.5, 1)
    assert (bird.name, bird.precision, bird.recall, bird.f1, bird.support) == ("bird", 0.0, 0.0, 0.0, 1)
    assert found.macro_f1 == pytest.approx((0.8 + 0.5 + 0) / 3)
    assert found.loss == pytest.approx(-math.log(0.8 * 0.6 * 0.3 * 0.8 * 0.3) / 5)
    # Bins: 0.5 twice (both wrong), 0.6 (right), 0.8 twice (both right).
    assert found.calibration_error == pytest.approx((2 * 0.5 + 0.4 + 2 * 0.2) / 5)


def test_classes_that_neither_occur_nor_are_predicted_stay_out_of_macro_f1():
    found = evaluate_predictions(np.pad(PROBABILITIES, ((0, 0), (0, 1))), LABELS, (*CLASSES, "fish"))
    assert found.macro_f1 == pytest.approx((0.8 + 0.5 + 0) / 3)
    assert found.per_class[3].f1 == 0


def test_of_equal_probabilities_the_first_class_wins():
    assert evaluate_predictions([[0.5, 0.5]], [1], ("a", "b")).confusion == ((0, 0), (1, 0))


def test_sigmoids_need_not_sum_to_one():
    found = evaluate_predictions([[0.9, 0.8], [0.2, 0.1]], [0, 0], ("a", "b"))
    assert found.accuracy == 1
    assert found.loss == pytest.approx(-math.log(0.9 * 0.2) / 2)


def test_a_sure_mistake_costs_a_finite_loss():
    assert evaluate_predictions([[0.0, 1.0]], [0], ("a", "b")).loss == pytest.approx(-math.log(1e-12))
    assert str(evaluate_predictions([[1.0, 0.0]], [0], ("a", "b")).loss) == "0.0"


def test_the_dict_is_json_and_says_the_same():
    found = evaluate_predictions(PROBABILITIES.astype(np.float32), LABELS.astype(np.int32), list(CLASSES))
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert values["accuracy"] == 0.6
    assert values["interval"] == list(found.interval)
    assert values["confusion"] == [[2, 1, 0], [0, 1, 0], [0, 1, 0]]
    assert values["per_class"][1]["support"] == 1
    assert values["classes"] == list(CLASSES)


def test_nothing_to_evaluate_is_told():
    with pytest.raises(DataError, match="no photos to evaluate"):
        evaluate_predictions(np.empty((0, 3)), np.empty(0, int), CLASSES)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_outputs_of_a_diverged_network_are_told(value):
    broken = PROBABILITIES.copy()
    broken[3] = value
    with pytest.raises(TrainingError, match="NaN or infinite outputs for 1 of 5 photos") as caught:
        evaluate_predictions(broken, LABELS, CLASSES)
    assert "learning rate" in caught.value.hint


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (PROBABILITIES[:, :2], LABELS, "shape"),
        (PROBABILITIES[:4], LABELS, "shape"),
        (PROBABILITIES[0], LABELS, "shape"),
        (PROBABILITIES, LABELS + 1, "from 0 to 2"),
        (PROBABILITIES, LABELS - 1, "from 0 to 2"),
        (PROBABILITIES, LABELS + 0.0, "integers"),
    ],
)
def test_what_does_not_fit_is_refused(probabilities, labels, message):
    with pytest.raises(ValueError, match=message):
        evaluate_predictions(probabilities, labels, CLASSES)


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 30), st.integers(1, 6)), elements=st.floats(0, 1)),
    st.randoms(use_true_random=False),
)
def test_figures_agree_with_each_other(probabilities, random):
    count, classes = probabilities.shape
    labels = [random.randrange(classes) for _ in range(count)]
    found = evaluate_predictions(probabilities, labels, [str(index) for index in range(classes)])
    confusion = np.array(found.confusion)
    assert confusion.sum() == count
    assert found.accuracy == pytest.approx(np.trace(confusion) / count)
    assert found.interval[0] <= found.accuracy <= found.interval[1]
    assert [scores.support for scores in found.per_class] == confusion.sum(axis=1).tolist()
    weighted = sum(scores.recall * scores.support for scores in found.per_class) / count
    assert weighted == pytest.approx(found.accuracy)
    for scores in found.per_class:
        both = scores.precision + scores.recall
        assert scores.f1 == pytest.approx(2 * scores.precision * scores.recall / both if both else 0)
    assert 0 <= found.calibration_error <= 1
    assert found.loss >= 0
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_interval_of_800_photos():
    low, high = wilson_interval(744, 800)
    assert (low, high) == (pytest.approx(0.9102, abs=5e-5), pytest.approx(0.9457, abs=5e-5))


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_wilsons(case):
    right, count = case
    expected = scipy.stats.binomtest(right, count).proportion_ci(method="wilson")
    assert wilson_interval(right, count) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_interval_is_exact_at_its_ends():
    assert wilson_interval(0, 7)[0] == 0
    assert wilson_interval(7, 7)[1] == 1


def test_calibration_bins_are_open_below_and_closed_above():
    # 1/15 belongs to the first bin, as 0 does; a little more to the second.
    edge = 1 / 15
    assert calibration_error([0.0, edge], [False, True]) == pytest.approx(abs(1 - edge) / 2)
    assert calibration_error([edge, edge + 1e-9], [False, True]) == pytest.approx((edge + 1 - edge) / 2)
    assert calibration_error([1.0, 1.0], [True, True]) == 0


def test_calibration_of_an_oracle_that_says_70_percent():
    assert calibration_error([0.7] * 10, [True] * 7 + [False] * 3) == pytest.approx(0)
    assert calibration_error([0.7] * 10, [True] * 10) == pytest.approx(0.3)


def test_the_mean_of_three_seeds():
    mean, half = mean_interval([0.90, 0.92, 0.94])
    assert mean == pytest.approx(0.92)
    assert half == pytest.approx(4.302653 * 0.02 / math.sqrt(3), rel=1e-6)  # t of 2 degrees of freedom, 0.975


def test_one_seed_has_no_interval():
    assert mean_interval([0.9]) == (0.9, None)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20))
def test_the_interval_is_students(values):
    mean, half = mean_interval(values)
    spread = scipy.stats.sem(values)
    expected = spread * scipy.stats.t.ppf(0.975, len(values) - 1)
    assert mean == pytest.approx(np.mean(values), abs=1e-9)
    assert half == pytest.approx(expected, rel=1e-6, abs=1e-9)
