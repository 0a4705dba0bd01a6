import json
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from zoo.errors import DataError, TrainingError
from zoo.metrics import classification
from zoo.metrics.classification import calibration_error, evaluate_predictions, true_class_ranks
from zoo.metrics.intervals import wilson_interval

# Five photos of cat, cat, cat, dog and bird, predicted as cat, cat, dog, dog and dog.
PROBABILITIES = np.array([[0.8, 0.1, 0.1], [0.6, 0.2, 0.2], [0.3, 0.5, 0.2], [0.1, 0.8, 0.1], [0.2, 0.5, 0.3]])
LABELS = np.array([0, 0, 0, 1, 2])
CLASSES = ("cat", "dog", "bird")


def test_metrics_match_a_case_computed_by_hand():
    result = evaluate_predictions(PROBABILITIES, LABELS, CLASSES)
    assert result.count == 5
    assert result.accuracy == 0.6
    assert result.confusion.tolist() == [[2, 1, 0], [0, 1, 0], [0, 1, 0]]
    assert result.pairs.tolist() == [[0, 0, 2], [0, 1, 1], [1, 1, 1], [2, 1, 1]]
    cat, dog, bird = result.per_class
    assert (cat.name, cat.precision, cat.recall, cat.f1, cat.support) == ("cat", 1.0, pytest.approx(2 / 3), 0.8, 3)
    assert (dog.name, dog.precision, dog.recall, dog.f1, dog.support) == ("dog", pytest.approx(1 / 3), 1.0, 0.5, 1)
    assert (bird.name, bird.precision, bird.recall, bird.f1, bird.support) == ("bird", 0.0, 0.0, 0.0, 1)
    assert result.macro_f1 == pytest.approx((0.8 + 0.5 + 0) / 3)
    assert result.loss == pytest.approx(-math.log(0.8 * 0.6 * 0.3 * 0.8 * 0.3) / 5)
    # Bins: 0.5 twice (both wrong), 0.6 (right), 0.8 twice (both right).
    assert result.calibration_error == pytest.approx((2 * 0.5 + 0.4 + 2 * 0.2) / 5)


def test_the_balanced_accuracy_is_the_mean_recall_of_the_classes_with_photos():
    result = evaluate_predictions(np.pad(PROBABILITIES, ((0, 0), (0, 1))), LABELS, (*CLASSES, "fish"))
    assert result.balanced_accuracy == pytest.approx((2 / 3 + 1 + 0) / 3)
    low, high = result.balanced_interval
    assert 0 < low < result.balanced_accuracy < high < 1
    assert result.is_uneven, "three photos of cats, one of dogs; classes without photos do not count"
    assert not evaluate_predictions(PROBABILITIES[1:], LABELS[1:], CLASSES).is_uneven


@pytest.mark.parametrize("classes", [10, 11])
def test_more_than_ten_classes_have_a_top_5_accuracy(classes):
    p = np.tile(np.linspace(0, 0.1, classes), (3, 1))
    result = evaluate_predictions(p, np.array([classes - 1, classes - 5, classes - 6]), tuple(map(str, range(classes))))
    assert result.accuracy == pytest.approx(1 / 3)
    if classes > 10:
        assert result.top_5_accuracy == pytest.approx(2 / 3)
        assert result.top_5_interval == wilson_interval(2, 3)
        assert "top-5 accuracy" in result._repr_html_()
    else:
        assert (result.top_5_accuracy, result.top_5_interval) == (None, None)


def test_ranks_of_many_photos_are_those_of_each(monkeypatch):
    random = np.random.default_rng(0)
    p, labels = random.integers(0, 4, (50, 7)) / 10, random.integers(0, 7, 50)
    wanted = [int(np.argsort(-row, kind="stable").tolist().index(label)) for row, label in zip(p, labels, strict=True)]
    assert true_class_ranks(p, labels).tolist() == wanted
    monkeypatch.setattr(classification, "_BLOCK", 20)
    assert true_class_ranks(p, labels).tolist() == wanted


def test_macro_f1_leaves_out_classes_that_neither_occur_nor_are_predicted():
    result = evaluate_predictions(np.pad(PROBABILITIES, ((0, 0), (0, 1))), LABELS, (*CLASSES, "fish"))
    assert result.macro_f1 == pytest.approx((0.8 + 0.5 + 0) / 3)
    assert result.per_class[3].f1 == 0


def test_the_first_of_equal_probabilities_is_predicted():
    assert evaluate_predictions([[0.5, 0.5]], [1], ("a", "b")).confusion.tolist() == [[0, 0], [1, 0]]


def test_probabilities_need_not_sum_to_one():
    result = evaluate_predictions([[0.9, 0.8], [0.2, 0.1]], [0, 0], ("a", "b"))
    assert result.accuracy == 1
    assert result.loss == pytest.approx(-math.log(0.9 * 0.2) / 2)


def test_a_certain_mistake_has_a_finite_loss():
    assert evaluate_predictions([[0.0, 1.0]], [0], ("a", "b")).loss == pytest.approx(-math.log(1e-12))
    assert str(evaluate_predictions([[1.0, 0.0]], [0], ("a", "b")).loss) == "0.0"


def test_to_dict_returns_the_same_values_as_json():
    result = evaluate_predictions(PROBABILITIES.astype(np.float32), LABELS.astype(np.int32), list(CLASSES))
    values = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert values["accuracy"] == 0.6
    assert values["interval"] == list(result.interval)
    assert values["confusion"] == [[2, 1, 0], [0, 1, 0], [0, 1, 0]]
    assert values["per_class"][1]["support"] == 1
    assert values["most_confused"] == [
        {"true": "cat", "predicted": "dog", "count": 1, "support": 3},
        {"true": "bird", "predicted": "dog", "count": 1, "support": 1},
    ]
    assert "pairs" not in values
    assert values["classes"] == list(CLASSES)


def test_no_photos_is_an_error():
    with pytest.raises(DataError, match="no photos to evaluate"):
        evaluate_predictions(np.empty((0, 3)), np.empty(0, int), CLASSES)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nan_and_infinite_outputs_are_an_error(value):
    diverged = PROBABILITIES.copy()
    diverged[3] = value
    with pytest.raises(TrainingError, match="NaN or infinite outputs for 1 of 5 photos") as caught:
        evaluate_predictions(diverged, LABELS, CLASSES)
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
def test_mismatched_arguments_are_an_error(probabilities, labels, message):
    with pytest.raises(ValueError, match=message):
        evaluate_predictions(probabilities, labels, CLASSES)


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 30), st.integers(1, 6)), elements=st.floats(0, 1)),
    st.randoms(use_true_random=False),
)
def test_metrics_are_consistent(probabilities, random):
    count, classes = probabilities.shape
    labels = [random.randrange(classes) for _ in range(count)]
    result = evaluate_predictions(probabilities, labels, [str(index) for index in range(classes)])
    confusion = result.confusion
    assert confusion.sum() == count
    assert result.accuracy == pytest.approx(np.trace(confusion) / count)
    assert result.interval[0] <= result.accuracy <= result.interval[1]
    assert [scores.support for scores in result.per_class] == confusion.sum(axis=1).tolist()
    weighted = sum(scores.recall * scores.support for scores in result.per_class) / count
    assert weighted == pytest.approx(result.accuracy)
    for scores in result.per_class:
        both = scores.precision + scores.recall
        assert scores.f1 == pytest.approx(2 * scores.precision * scores.recall / both if both else 0)
    assert 0 <= result.calibration_error <= 1
    assert result.loss >= 0
    json.dumps(result.to_dict(), allow_nan=False)


def test_calibration_bins_are_open_below_and_closed_above():
    # 1/15 is in the first bin, as 0 is; anything above it is in the second.
    edge = 1 / 15
    assert calibration_error([0.0, edge], [False, True]) == pytest.approx(abs(1 - edge) / 2)
    assert calibration_error([edge, edge + 1e-9], [False, True]) == pytest.approx((edge + 1 - edge) / 2)
    assert calibration_error([1.0, 1.0], [True, True]) == 0


def test_a_calibrated_confidence_of_70_percent_has_no_error():
    assert calibration_error([0.7] * 10, [True] * 7 + [False] * 3) == pytest.approx(0)
    assert calibration_error([0.7] * 10, [True] * 10) == pytest.approx(0.3)


def test_the_most_confused_pairs_come_first():
    labels, predicted = [0, 0, 1, 1, 1, 2, 2], [1, 1, 0, 2, 2, 1, 2]
    result = evaluate_predictions(np.eye(3)[predicted], labels, CLASSES)
    pairs = [(each.true, each.predicted, each.count, each.support) for each in result.most_confused()]
    assert pairs == [("cat", "dog", 2, 2), ("dog", "bird", 2, 3), ("dog", "cat", 1, 3), ("bird", "dog", 1, 2)]
    assert [each.count for each in result.most_confused(1)] == [2]
    assert evaluate_predictions(np.eye(3), [0, 1, 2], CLASSES).most_confused() == ()


def test_thousands_of_classes_take_neither_time_nor_memory():
    """A matrix of 40,000 classes would have 1.6 billion numbers."""
    classes = 40_000
    labels = np.arange(200)
    probabilities = np.zeros((200, classes), np.float32)
    probabilities[labels, labels % 7 * 5_000] = 1
    tracemalloc.start()
    result = evaluate_predictions(probabilities, labels, [str(index) for index in range(classes)])
    text = json.dumps(result.to_dict())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(result.pairs) == 200
    assert json.loads(text)["confusion"] is None
    assert len(json.loads(text)["most_confused"]) == 100
    assert peak < 64 << 20
    assert len(text) < 250 * classes
