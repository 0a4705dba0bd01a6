import math

import pytest
from PIL import Image

from zoo.report.tuning import LINEAR, LOG, write_tuning


def make_trial(number, value, state="finished", **values):
    epochs = {} if value is None and state != "pruned" else {0: 0.9, 1: value if value is not None else 0.8}
    return {"number": number, "state": state, "value": value, "values": values, "epochs": epochs}


@pytest.fixture
def write(tmp_path):
    def write_one(trials, **changes):
        arguments = {
            "parameters": {"lr": LOG},
            "importances": {},
            "objective": "log-loss",
            "higher_is_better": False,
            "title": "resnet18-photos",
            **changes,
        }
        path = write_tuning(tmp_path / "report.png", trials, **arguments)
        with Image.open(path) as picture:
            picture.load()
            return picture.size

    return write_one


def test_a_single_trial_is_a_picture(write):
    assert write([make_trial(1, 0.4, lr=1e-3)]) > (1000, 500)


def test_trials_of_all_states_with_outliers_and_all_kinds_of_options(write):
    kinds = {
        "lr": LOG,
        "dropout": LINEAR,
        "augment": ("none", "random-erasing+trivialaugment"),
        "clip-grad": (None, 1.0),
    }
    kinds |= {"probe": (True, False), "epochs": LINEAR}

    def values(index):
        return {
            "lr": 10 ** -(1 + index / 9),
            "dropout": index / 40,
            "augment": kinds["augment"][index % 2],
            "clip-grad": kinds["clip-grad"][index % 2],
            "probe": index % 2 == 0,
            "epochs": index,
        }

    trials = [make_trial(index + 1, 0.5 + math.sin(index) / 9, **values(index)) for index in range(18)]
    trials[3]["value"] = 900.0
    trials += [make_trial(19, None, "pruned", **values(18)), make_trial(20, None, "failed", **values(19))]
    trials.append({**make_trial(21, None, "pruned", **values(20)), "epochs": {1: math.nan}})
    shares = {name: 1 / len(kinds) for name in kinds}
    tall = write(trials, parameters=kinds, importances=shares, higher_is_better=True, objective="val-accuracy")
    assert tall[1] > write(trials, parameters=kinds, importances={"lr": 1.0})[1]


def test_equal_values_have_a_scale_too(write):
    width, height = write([make_trial(index, 0.0, lr=1e-3) for index in (1, 2)])
    assert min(width, height) > 0
