import json
from pathlib import Path

import pytest

import zoo.training.tuning.tune
from zoo.events import StudyStarted
from zoo.training.tuning.result import StudyTrial, Tuning


@pytest.fixture
def calls(monkeypatch):
    made = []

    def tune(backbone, *, observer, **arguments):
        made.append((backbone, arguments))
        observer(
            StudyStarted(
                study="a",
                storage="a.journal",
                objective="log-loss",
                higher_is_better=False,
                search={"lr": "1..2"},
                trials=3,
                done=0,
            )
        )
        best = StudyTrial(number=1, state="finished", value=0.5, values={"lr": 1.5}, epochs={1: 0.5})
        return Tuning(
            study="a",
            storage="a.journal",
            objective="log-loss",
            higher_is_better=False,
            trials=(best,),
            best=best,
            importances={},
            recipe=Path("best.toml"),
            report=Path("report.json"),
            picture=None,
            run=None,
        )

    monkeypatch.setattr(zoo.training.tuning.tune, "tune", tune)
    return made


def test_options_reach_the_search(run_zoo, calls):
    code, out, err = run_zoo(
        *("tune", "tiny", "--data", "dogs", "--search", "lr=1e-5..1e-2:log", "--search", "loss-option.gamma=1,2"),
        *("--trials", "40", "--minutes", "2.5", "--storage", "sqlite:///a.db", "--study", "mine", "--epochs", "3"),
        *("--head-option", "hidden=4"),
    )
    assert (code, err) == (0, "")
    ((backbone, arguments),) = calls
    assert backbone == "tiny"
    assert arguments == {
        "data": "dogs",
        "search": {"lr": "1e-5..1e-2:log", "loss-option.gamma": "1,2"},
        "trials": 40,
        "minutes": 2.5,
        "study": "mine",
        "storage": "sqlite:///a.db",
        "runs": Path("runs"),
        "epochs": "3",
        "head_options": {"hidden": "4"},
    }
    assert out.startswith("a\n")


def test_quiet_prints_the_recipe_and_json_everything(run_zoo, calls):
    command = ("tune", "--data", "dogs", "--search", "lr=1..2")
    assert run_zoo(*command, "--quiet").out == "best.toml\n"
    shown = json.loads(run_zoo(*command, "--json").out)
    assert shown["best"]["values"] == {"lr": 1.5}
    assert (shown["recipe"], shown["run"]) == ("best.toml", None)
    assert calls[0][0] is None


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--data", "dogs"], 2, "Missing option '--search'"),
        (["--search", "lr=1..2"], 2, "Missing option '--data'"),
        (["--data", "dogs", "--search", "lr"], 1, "--search 'lr' is not of the form NAME=VALUE"),
        (["--data", "dogs", "--search", "lr=1..2", "--trials", "0"], 2, "--trials"),
        (["--data", "dogs", "--search", "lr=1..2", "--devices", "2"], 2, "no option '--devices'"),
    ],
)
def test_wrong_usage_is_refused(run_zoo, calls, arguments, code, message):
    result = run_zoo("tune", "tiny", *arguments)
    assert result.code == code
    assert message in result.err
    assert not calls


def test_a_wrong_search_is_an_error_of_the_command(run_zoo):
    code, _, err = run_zoo("tune", "tiny", "--data", "dogs", "--search", "lrr=1..2")
    assert code == 1
    assert "no option 'lrr' to search" in err
    assert "Did you mean lr?" in err
