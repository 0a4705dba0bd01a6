import json
import sys

import pytest

from zoo.errors import MissingPackageError
from zoo.runs.history import History
from zoo.runs.record import RunRecord
from zoo.runs.run import RunFolder

ROWS = [
    {"epoch": 0, "train_loss": None, "val_accuracy": 0.5, "learning_rate": 0.0, "seconds": 1.25},
    {"epoch": 1, "train_loss": 0.25, "val_accuracy": 0.75, "learning_rate": 0.001, "seconds": 2.0, "best": True},
]


def test_the_history_of_a_run_is_a_list_of_its_epochs(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    history = RunFolder(tmp_path, RunRecord()).history
    assert history == ROWS
    assert isinstance(history, list)
    assert RunFolder(tmp_path / "elsewhere", RunRecord()).history == []


def test_a_notebook_shows_a_table():
    shown = History(ROWS)._repr_html_()
    assert shown.count("<tr") == 3
    for cell in (">probe<", ">1 *<", ">75.0 %<", ">0.250<", ">0.001000<", ">-<"):
        assert cell in shown


def test_the_history_as_a_table_of_pandas():
    frame = History(ROWS).to_pandas()
    assert frame.index.name == "epoch"
    assert frame.loc[1, "val_accuracy"] == 0.75
    assert len(History().to_pandas()) == 0


def test_without_pandas_an_error_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingPackageError, match="needs pandas"):
        History(ROWS).to_pandas()
