import json
from pathlib import Path

import pytest

import zoo.training.compare
from zoo.cli.commands.compare import split_grid
from zoo.errors import ConfigError
from zoo.training.compare import Comparison, Variant


@pytest.fixture
def calls(monkeypatch):
    made = []

    def compare(backbone, *, observer, **asked):
        made.append((backbone, asked))
        common = {"runs": ("a", "b"), "accuracies": (0.9, 0.92), "seconds": (60.0, 70.0)}
        variants = (
            Variant(name="weights=pretrained", mean=0.91, half_width=0.127, **common),
            Variant(name="weights=none", mean=0.8, half_width=None, **common),
        )
        return Comparison(variants=variants, picture=Path("out/comparison.png"), table=Path("out/comparison.json"))

    monkeypatch.setattr(zoo.training.compare, "compare", compare)
    return made


def test_several_values_make_the_grid_and_single_ones_are_common(run_zoo, calls):
    code, out, err = run_zoo(
        *("compare", "tiny", "--data", "dogs", "--weights", "pretrained,none", "--lr", "1e-3,1e-2"),
        *("--epochs", "3", "--head-option", "hidden=4", "--seeds", "0,1", "--output", "out"),
    )
    assert (code, err) == (0, "")
    ((backbone, asked),) = calls
    assert (backbone, asked["data"]) == ("tiny", "dogs")
    assert asked["grid"] == {"weights": ["pretrained", "none"], "lr": [1e-3, 1e-2]}
    assert asked["common"] == {"epochs": 3, "head_options": {"hidden": "4"}}
    assert asked["seeds"] == [0, 1]
    assert (asked["runs"], asked["output"]) == (Path("runs"), Path("out"))
    assert out.splitlines() == [
        "variant             accuracy       runs  time a run",
        "weights=pretrained  91.0 % ± 12.7     2   1 min 5 s",
        "weights=none        80.0 %            2   1 min 5 s",
        "out/comparison.png",
    ]


def test_seeds_alone_are_a_comparison(run_zoo, calls):
    assert run_zoo("compare", "tiny", "--data", "dogs", "--seeds", "0,1,2").code == 0
    assert calls[0][1]["grid"] == {}


def test_quiet_and_json(run_zoo, calls):
    asked = ("compare", "tiny", "--data", "dogs", "--lr", "1,2")
    assert run_zoo(*asked, "--quiet").out == "out/comparison.png\n"
    told = json.loads(run_zoo(*asked, "--json").out)
    assert told[0]["mean"] == 0.91
    assert told[1]["half_width"] is None


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ([], "There is nothing to compare"),
        (["--lr", "1,fast"], "option 'lr' is 'fast'"),
        (["--lr", "1,1.0"], "--lr 1,1.0 names a value twice"),
        (["--seeds", "0,x"], "option 'seed' is 'x'"),
    ],
)
def test_wrong_values_are_refused(run_zoo, calls, args, told):
    code, _, err = run_zoo("compare", "tiny", "--data", "dogs", *args)
    assert code == 1
    assert told in err
    assert not calls


def test_without_data_it_tells_what_data_can_be(run_zoo):
    code, _, err = run_zoo("compare", "tiny", "--lr", "1,2")
    assert code == 2
    assert "dogs" in err


def test_split_grid_parses_each_value():
    grid, common = split_grid({"probe": "yes,no", "clip_grad": "none,1", "epochs": "2"})
    assert grid == {"probe": [True, False], "clip_grad": [None, 1.0]}
    assert common == {"epochs": 2}
    with pytest.raises(ConfigError, match="option 'epochs' is '0'"):
        split_grid({"epochs": "1,0"})
