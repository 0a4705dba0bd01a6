import csv
import dataclasses
import io

import pytest

from zoo.errors import ImageError
from zoo.inference.prediction_csv import PredictionCsv
from zoo.inference.predictor import Prediction

CLASSES = ("=cat", "dog", "fox")
PREDICTION = Prediction(
    name="a.jpg", label="dog", probability=0.5, probabilities={"dog": 0.5, "fox": 0.375, "=cat": 0.125}
)


def rows_of(*, top=None):
    text = io.StringIO()
    table = PredictionCsv(text, CLASSES, top=top)
    table.write("a.jpg", PREDICTION)
    table.write("b.jpg", ImageError("b.jpg: cannot be read."))
    return list(csv.reader(io.StringIO(text.getvalue())))


@pytest.mark.parametrize("top", [None, 3, 5])
def test_a_column_for_each_class_if_all_are_written(top):
    assert rows_of(top=top) == [
        ["photo", "label", "probability", "'=cat", "dog", "fox", "error"],
        ["a.jpg", "dog", "0.500000", "0.125000", "0.500000", "0.375000", ""],
        ["b.jpg", "", "", "", "", "", "b.jpg: cannot be read."],
    ]


@pytest.mark.parametrize("top", [1, 2])
def test_or_the_most_probable_classes(top):
    header, first, second = rows_of(top=top)
    ranked = [["label 2", "probability 2"], ["fox", "0.375000"], ["", ""]]
    more = ranked if top == 2 else [[], [], []]
    assert header == ["photo", "label", "probability", *more[0], "error"]
    assert first == ["a.jpg", "dog", "0.500000", *more[1], ""]
    assert second == ["b.jpg", "", "", *more[2], "b.jpg: cannot be read."]


@pytest.mark.parametrize("top", [None, 1])
def test_a_prediction_set_follows_the_label(top):
    text = io.StringIO()
    table = PredictionCsv(text, CLASSES, top=top, sets=True)
    table.write("a.jpg", dataclasses.replace(PREDICTION, prediction_set=("dog", "fox"), coverage=0.9))
    table.write("b.jpg", ImageError("b.jpg: cannot be read."))
    header, first, second = csv.reader(io.StringIO(text.getvalue()))
    assert header[:4] == ["photo", "label", "probability", "prediction_set"]
    assert first[3] == "dog|fox"
    assert len(header) == len(first) == len(second)
