import json
from dataclasses import asdict

import pytest

from zoo.metrics.calibration import Calibration, PredictionSets, format_coverage, needed_photos

SETS = PredictionSets(score="aps", photos=3, scores=(0.0, 0.25, 0.5))
CALIBRATION = Calibration(
    method="temperature",
    temperature=(1.5,),
    fitted_on="out-of-fold",
    photos=1270,
    compared={"none": {"loss": 0.5}, "temperature": {"loss": 0.4}},
    sets=SETS,
)


def to_json(calibration, **changes):
    return {**json.loads(json.dumps(asdict(calibration))), **changes}


def test_json_keeps_it():
    assert Calibration.from_json(to_json(CALIBRATION), classes=4) == CALIBRATION
    per_label = Calibration(method="temperature-per-label", activation="sigmoid", temperature=(1.0, 2.0))
    assert Calibration.from_json(to_json(per_label), classes=2) == per_label


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "vector"}, "'method' is not one of none, temperature, temperature-per-label"),
        ({"activation": ["softmax"]}, "'activation' is not one of"),
        ({"temperature": []}, "not a list of 1 numbers"),
        ({"temperature": [1, 2]}, "not a list of 1 numbers"),
        ({"temperature": [0]}, "not a number from 0.001 to 1000"),
        ({"temperature": [True]}, "not a number from"),
        ({"temperature": [float("nan")]}, "not a number from"),
        ({"compared": []}, "'compared' is not an object"),
        ({"sets": []}, "'sets' is not an object"),
        ({"sets": {**asdict(SETS), "scores": [0.1]}}, "does not have the score of each photo"),
        ({"sets": {**asdict(SETS), "scores": [0.3, 0.2, 0.4]}}, "not sorted"),
        ({"sets": {**asdict(SETS), "scores": [-0.3, 0.2, 0.4]}}, "not numbers from 0"),
        ({"sets": {**asdict(SETS), "scores": [0.1, 0.2, float("inf")]}}, "not numbers from 0"),
        ({"sets": {**asdict(SETS), "photos": 0, "scores": []}}, "not numbers from 0"),
        ({"sets": {**asdict(SETS), "score": "raps"}}, "'score' is not one of lac, aps"),
    ],
)
def test_anything_else_is_refused(changes, message):
    values = to_json(CALIBRATION, **changes)
    if isinstance(values["sets"], dict):
        values["sets"] = {**values["sets"], "scores": list(values["sets"]["scores"])}
    with pytest.raises(ValueError, match=message):
        Calibration.from_json(values, classes=4)


def test_it_is_described_in_words():
    assert CALIBRATION.describe() == "temperature 1.5, from 1,270 out-of-fold predictions"
    several = Calibration(
        method="temperature-per-label", temperature=(0.5, 1.25), fitted_on="validation", photos=30, activation="sigmoid"
    )
    assert several.describe() == "temperature 0.5 to 1.25, one for each label, from 30 validation photos"
    assert Calibration(method="none").describe() == "none"
    assert Calibration(method="none", note="as requested").describe() == "none: as requested"


def test_coverages_in_words_and_in_photos():
    assert [format_coverage(each) for each in (0.95, 0.995, 0.9)] == ["95 %", "99.5 %", "90 %"]
    assert [needed_photos(each) for each in (0.9, 0.95, 0.99, 0.5)] == [9, 19, 99, 1]
