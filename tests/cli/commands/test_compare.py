import json
from pathlib import Path

import pytest

import zoo.training.compare
from zoo.cli.commands.compare import split_grid
from zoo.errors import ConfigError
from zoo.training.compare import Comparison, Variant, compare


@pytest.fixture
def calls(monkeypatch):
    made = []

    def compare(backbone, *, observer, **arguments):
        made.append((backbone, arguments))
        two = {"runs": ("a", "b"), "accuracies": (0.9, 0.92), "seconds": (60.0, 70.0)}
        three = {"runs": ("c", "d", "e"), "accuracies": (0.8, 0.81, 0.79), "seconds": (60.0, 70.0, 80.0)}
        variants = (
            Variant(name="weights=pretrained", mean=0.91, half_width=None, **two),
            Variant(name="weights=none", mean=0.8, half_width=0.025, **three),
        )
        return Comparison(variants=variants, picture=Path("out/comparison.png"), table=Path("out/comparison.json"))

    monkeypatch.setattr(zoo.training.compare, "compare", compare)
    return made


def test_options_with_several_values_make_the_grid(run_zoo, calls):
    code, out, err = run_zoo(
        *("compare", "tiny", "--data", "dogs", "--weights", "pretrained,none", "--lr", "1e-3,1e-2"),
        *("--epochs", "3", "--head-option", "hidden=4", "--seeds", "0,1", "--output", "out"),
    )
    assert (code, err) == (0, "")
    ((backbone, arguments),) = calls
    assert (backbone, arguments["data"]) == ("tiny", "dogs")
    assert arguments["grid"] == {"weights": ["pretrained", "none"], "lr": [1e-3, 1e-2]}
    assert arguments["common"] == {"epochs": 3, "head_options": {"hidden": "4"}}
    assert arguments["seeds"] == [0, 1]
    assert (arguments["runs"], arguments["output"]) == (Path("runs"), Path("out"))
    assert out.splitlines() == [
        "variant             accuracy                               runs  time per run",
        "weights=pretrained  91.0 % (too few runs for an interval)     2     1 min 5 s",
        "weights=none        80.0 % ± 2.5                              3    1 min 10 s",
        "out/comparison.png",
    ]


def test_seeds_alone_are_a_comparison(run_zoo, calls):
    assert run_zoo("compare", "tiny", "--data", "dogs", "--seeds", "0,1,2").code == 0
    assert calls[0][1]["grid"] == {}


def test_quiet_and_json(run_zoo, calls):
    command = ("compare", "tiny", "--data", "dogs", "--lr", "1,2")
    assert run_zoo(*command, "--quiet").out == "out/comparison.png\n"
    variants = json.loads(run_zoo(*command, "--json").out)
    assert variants[0]["mean"] == 0.91
    assert variants[0]["half_width"] is None


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "There is nothing to compare"),
        (["--lr", "1,fast"], "option 'lr' is 'fast'"),
        (["--lr", "1,1.0"], "--lr 1,1.0 repeats a value"),
        (["--seeds", "0,x"], "option 'seed' is 'x'"),
    ],
)
def test_wrong_values_are_refused(run_zoo, calls, args, message):
    code, _, err = run_zoo("compare", "tiny", "--data", "dogs", *args)
    assert code == 1
    assert message in err
    assert not calls


def test_without_data_the_error_lists_the_choices(run_zoo):
    code, _, err = run_zoo("compare", "tiny", "--lr", "1,2")
    assert code == 2
    assert "dogs" in err


def test_split_grid_parses_each_value():
    grid, common = split_grid({"probe": "yes,no", "clip_grad": "none,1", "epochs": "2"})
    assert grid == {"probe": [True, False], "clip_grad": [None, 1.0]}
    assert common == {"epochs": 2}
    with pytest.raises(ConfigError, match="option 'epochs' is '0'"):
        split_grid({"epochs": "1,0"})


def test_each_time_an_option_is_repeated_it_may_have_several_values():
    grid, common = split_grid({"augment": ("none,mixup", "blur"), "loss_options": {"gamma": "1,2", "alpha": "0.25"}})
    assert grid == {
        "augment": [("blur",), ("mixup", "blur")],
        "loss_options": [{"gamma": "1", "alpha": "0.25"}, {"gamma": "2", "alpha": "0.25"}],
    }
    assert common == {}
    with pytest.raises(ConfigError, match="--loss-option repeats a value"):
        split_grid({"loss_options": {"gamma": "1,1"}})


def test_data_metrics_and_trackers_are_the_same_for_all_variants():
    given = {"tracker": ("jsonl", "mlflow"), "data_options": {"column": "a,b"}}
    grid, common = split_grid({**given, "lr": "1,2"})
    assert (grid, common) == ({"lr": [1.0, 2.0]}, given)


def test_compare_runs_in_a_single_process(run_zoo, monkeypatch):
    assert "--devices" in run_zoo("compare", "tiny", "--data", "dogs", "--devices", "2").err
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "0")
    with pytest.raises(ConfigError, match="compare runs in a single process"):
        compare("tiny", data="dogs", grid={"lr": [0.1, 0.2]})
