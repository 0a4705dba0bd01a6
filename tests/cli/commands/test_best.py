import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from zoo.training.best import find_best as module
from zoo.training.best.table import Row

ROWS = (
    Row(
        number=1,
        name="small, 224 px, probe",
        status="done",
        basis="cross-validation",
        accuracy=0.9,
        low=0.88,
        high=0.92,
        photos=300,
        milliseconds=4.2,
        seconds=12.0,
        chosen=True,
    ),
    Row(
        number=2,
        name="large, 224 px, probe",
        status="done",
        basis="cross-validation",
        accuracy=0.91,
        low=0.89,
        high=0.93,
        photos=300,
        difference=0.01,
        difference_low=-0.01,
        difference_high=0.03,
        milliseconds=14.2,
        seconds=32.0,
    ),
    Row(number=3, name="other, 224 px, probe", status="failed", seconds=1.0, message="No luck."),
)


@pytest.fixture
def calls(monkeypatch):
    """The calls of the library, which finds a run that was written before."""
    made = []
    test = {"accuracy": 0.89, "interval": [0.85, 0.92], "count": 150}
    found = SimpleNamespace(
        run=SimpleNamespace(path=Path("runs/small-1"), results={"val": test, "test": test}),
        rows=ROWS,
        folder=Path("runs/search-dogs-1"),
        seconds=60.0,
    )

    def record(name):
        def call(*args, observer, **values):
            made.append((name, args, values))
            return found

        return call

    monkeypatch.setattr(module, "find_best", record("find"))
    monkeypatch.setattr(module, "resume_search", record("resume"))
    return made


def test_options_reach_the_search(run_zoo, calls):
    code, out, err = run_zoo(
        *("best", "--data", "dogs", "--minutes", "3", "--backbone", "a=b.pth", "--backbone", "c", "--only"),
        *("--backbone-option", "a.width=4", "--limit", "100", "--seed", "2"),
    )
    assert (code, err) == (0, "")
    ((name, args, values),) = calls
    assert (name, args) == ("find", ("dogs",))
    assert values["minutes"] == 3
    assert values["backbones"] == ("a=b.pth", "c")
    assert values["backbone_options"] == {"a.width": "4"}
    assert (values["only"], values["keep"], values["runs"]) == (True, False, Path("runs"))
    assert (values["limit"], values["seed"]) == ("100", "2")
    assert out.splitlines() == [
        "",
        "   tried                 accuracy                       than the chosen      ms for a photo   time",
        "1  small, 224 px, probe  90.0 % ± 2.0 cross-validation  chosen                          4.2   12 s",
        "2  large, 224 px, probe  91.0 % ± 2.0 cross-validation  +1.0 (-1.0 to +3.0)            14.2   32 s",
        "3  other, 224 px, probe  failed                                                           -  1.0 s",
        "",
        "test accuracy  89.0 % ± 3.5 (150 photos)",
        "time           1 min 0 s",
        "table, plot    runs/search-dogs-1",
        "run            runs/small-1",
    ]


def test_quiet_and_json(run_zoo, calls):
    assert run_zoo("best", "--data", "dogs", "--quiet").out == "runs/small-1\n"
    found = json.loads(run_zoo("best", "--data", "dogs", "--json").out)
    assert found["run"] == "runs/small-1"
    assert [row["name"] for row in found["tried"]] == [row.name for row in ROWS]
    assert calls[0][2]["minutes"] == 10


def test_a_search_is_resumed_with_its_settings(run_zoo, calls):
    assert run_zoo("best", "--resume", "runs/search-dogs-1", "--minutes", "20").code == 0
    assert calls == [("resume", (Path("runs/search-dogs-1"),), {"minutes": 20.0, "keep": False})]
    code, _, err = run_zoo("best", "--resume", "runs/search-dogs-1", "--data", "dogs")
    assert code == 2
    assert "--resume takes all settings from the search" in err


def test_without_data_the_message_lists_what_it_can_be(run_zoo, calls):
    code, _, err = run_zoo("best")
    assert code == 2
    assert "Missing option '--data'" in err


def test_a_folder_that_is_no_search_is_an_error(run_zoo, tmp_path):
    code, _, err = run_zoo("best", "--resume", str(tmp_path))
    assert code == 1
    assert "is not the folder of a search" in err
