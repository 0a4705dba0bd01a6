import json
import shutil
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from zoo.runs.cross_validation import CrossValidationRecord, read_folds, write_folds


def test_runs_oldest_first_with_their_accuracy(run_zoo, make_run):
    make_run("b-1", created="2026-01-01T00:00:00+00:00")
    make_run("a-1", created="2026-01-02T00:00:00+00:00", status="interrupted", results={})
    code, out, err = run_zoo("runs")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "run  backbone  head    data  accuracy            time",
        "b-1  tiny      linear  dogs  93.1 % ± 1.8  3 min 12 s",
        "a-1  tiny      linear  dogs  interrupted            -",
    ]


def test_a_validation_accuracy_is_marked(run_zoo, make_run):
    make_run(results={"val": {"accuracy": 0.9, "interval": [0.8, 1.0], "count": 50}, "seconds": 5.0})
    assert "90.0 % ± 10.0 (validation)" in run_zoo("runs").out


def test_a_word_selects(run_zoo, make_run):
    make_run("one-1")
    make_run("two-1")
    assert [row["name"] for row in json.loads(run_zoo("runs", "TWO", "--json").out)] == ["two-1"]


def test_json_has_plain_values(run_zoo, make_run):
    make_run()
    (row,) = json.loads(run_zoo("runs", "--json").out)
    assert row["accuracy"] == 0.931
    assert row["interval"] == [0.911, 0.947]
    assert row["split"] == "test"
    assert row["seconds"] == 192.0


def test_without_runs_a_message_explains_how_to_create_one(run_zoo, tmp_path):
    code, out, _ = run_zoo("runs")
    assert code == 0
    assert out == "There are no runs in runs/.\n'zoo finetune resnet18 --data hotdog' creates one.\n"
    assert run_zoo("runs", "--quiet").out == ""
    assert "matches 'x'" in run_zoo("runs", "x", "--runs", tmp_path / "elsewhere").out


@pytest.fixture
def two_runs(make_run):
    for number in (1, 2):
        folder = make_run(f"r-{number}", created=f"2026-01-0{number}T00:00:00+00:00")
        (folder / "model.safetensors").write_bytes(b"weights")


def test_tags_are_added_listed_moved_and_removed(run_zoo, two_runs):
    assert run_zoo("runs", "tag", "r-1", "hotdog").out == "hotdog@1 is r-1\n"
    assert run_zoo("runs", "tag", "r-2", "hotdog", "--quiet").out == "hotdog@2\n"
    assert run_zoo("runs", "tag", "hotdog@2", "hotdog@prod").out == "hotdog@prod is r-2\n"
    assert run_zoo("runs", "tag", "hotdog@1", "hotdog@prod").out == "hotdog@prod is r-1\n"
    assert run_zoo("runs").out.splitlines() == [
        "run  backbone  head    data  accuracy            time  tags",
        "r-1  tiny      linear  dogs  93.1 % ± 1.8  3 min 12 s  hotdog@1, hotdog@prod",
        "r-2  tiny      linear  dogs  93.1 % ± 1.8  3 min 12 s  hotdog@2",
    ]
    assert "hotdog@prod" in run_zoo("list").out
    assert [row["name"] for row in json.loads(run_zoo("runs", "@PROD", "--json").out)] == ["r-1"]
    assert run_zoo("runs", "untag", "hotdog@prod").out == "hotdog@prod was r-1\n"
    rows = [line.split()[:2] for line in run_zoo("runs", "tags").out.splitlines()]
    assert rows == [["tag", "run"], ["hotdog@1", "r-1"], ["hotdog@2", "r-2"]]
    history = json.loads(run_zoo("runs", "tags", "hotdog@prod", "--history", "--json").out)
    assert [entry["run"] for entry in history] == ["r-2", "r-1", ""]
    assert "(removed)" in run_zoo("runs", "tags", "--history").out


def test_a_version_that_is_taken_is_an_error(run_zoo, two_runs):
    run_zoo("runs", "tag", "r-1", "hotdog@3")
    code, out, err = run_zoo("runs", "tag", "r-2", "hotdog@3")
    assert (code, out) == (1, "")
    assert "a numbered version never moves" in err
    assert "'zoo runs tag r-2 hotdog' assigns the next number, hotdog@4." in err


def test_a_deleted_run_is_marked(run_zoo, two_runs, tmp_path):
    run_zoo("runs", "tag", "r-1", "hotdog")
    shutil.rmtree(tmp_path / "runs" / "r-1")
    assert "r-1 (gone)" in run_zoo("runs", "tags").out
    assert "which no longer exists in runs/" in run_zoo("evaluate", "hotdog@1").err


def test_runs_are_listed_even_if_the_tags_cannot_be_read(run_zoo, two_runs, tmp_path):
    (tmp_path / "runs" / "tags.json").write_text("{")
    code, out, err = run_zoo("runs")
    assert (code, len(out.splitlines())) == (0, 3)
    assert err.startswith("warning: runs/tags.json cannot be read")
    assert run_zoo("runs", "tags").code == 1


def test_the_help_explains_how_to_list_and_tag(run_zoo):
    out = run_zoo("runs", "--help").out
    for word in ("list", "tag", "tags", "untag", "rename", "delete", "zoo runs [WORD]"):
        assert word in out
    assert "--json" in run_zoo("runs", "list", "--help").out
    assert "There are no tags of 'pizza' in runs/." in run_zoo("runs", "tags", "pizza").out


@pytest.fixture
def answer(monkeypatch):
    """Returns a function that puts a terminal in place of stdin, on which someone gives an answer."""

    def give(text):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
        monkeypatch.setattr("click.termui.visible_prompt_func", lambda prompt: text)

    return give


def test_a_deletion_asks(run_zoo, two_runs, tmp_path, answer):
    answer("n")
    code, out, err = run_zoo("runs", "delete", "r-1")
    assert (code, out) == (1, "")
    assert "runs/r-1: 93.1 % ± 1.8, 2 files, " in err
    assert "Nothing is deleted." in err
    assert (tmp_path / "runs" / "r-1" / "run.json").exists()
    answer("y")
    code, out, err = run_zoo("runs", "delete", "r-1")
    assert (code, out) == (0, "r-1 is deleted\n")
    assert sorted(path.name for path in (tmp_path / "runs").iterdir() if path.is_dir()) == ["r-2"]


def test_a_deletion_without_a_terminal_needs_yes(run_zoo, two_runs, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    code, out, err = run_zoo("runs", "delete", "r-1")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "error: zoo runs delete asks before it deletes, and there is no terminal to ask on.",
        "Pass --yes to delete without being asked.",
    ]
    assert run_zoo("runs", "delete", "r-1", "r-2", "runs/r-1", "--yes", "--quiet") == (0, "r-1\nr-2\n", "")
    assert run_zoo("runs", "--quiet").out == ""


def test_nothing_is_deleted_if_one_run_may_not_be(run_zoo, two_runs, tmp_path):
    run_zoo("runs", "tag", "r-2", "hotdog")
    code, out, err = run_zoo("runs", "delete", "r-1", "r-2", "--yes")
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        "error: The run r-2 is tagged hotdog@1.",
        "Remove the tag first, 'zoo runs untag hotdog@1', or keep the run.",
    ]
    assert "Did you mean r-1 or r-2?" in run_zoo("runs", "delete", "r-3", "--yes").err
    assert len(json.loads(run_zoo("runs", "--json").out)) == 2


def test_a_run_is_renamed_with_its_tags(run_zoo, two_runs):
    run_zoo("runs", "tag", "r-1", "hotdog")
    assert run_zoo("runs", "rename", "r-1", "best").out == "r-1 is now best\n"
    assert json.loads(run_zoo("runs", "hotdog@1", "--json").out)[0]["name"] == "best"
    assert run_zoo("runs", "rename", "hotdog@1", "better", "--quiet").out == "better\n"
    code, out, err = run_zoo("runs", "rename", "better", "r-2")
    assert (code, out, err.splitlines()[0].endswith("r-2 exists.")) == (1, "", True)
    assert "Did you mean better?" in run_zoo("runs", "rename", "bettre", "x").err


@pytest.fixture
def folds(make_run, tmp_path):
    """A cross-validation beside a run."""
    run = make_run("b-1", created="2026-01-02T00:00:00+00:00")
    folder = run.parent / "tiny-linear-dogs-2fold-1"
    for number in (1, 2):
        shutil.copytree(run, folder / f"fold-{number}")
    record = CrossValidationRecord(
        status="finished",
        created="2026-01-01T00:00:00+00:00",
        folds=2,
        data="dogs",
        config={"backbone": "tiny", "head": "linear"},
        results={"accuracy": 0.9, "interval": [0.85, 0.94], "seconds": 75.0},
    )
    write_folds(folder, record)
    return folder


def test_a_cross_validation_is_one_row(run_zoo, folds):
    assert run_zoo("runs").out.splitlines() == [
        "run                       backbone  head    data  accuracy                      time",
        "tiny-linear-dogs-2fold-1  tiny      linear  dogs  90.0 % ± 4.5 (2 folds)  1 min 15 s",
        "b-1                       tiny      linear  dogs  93.1 % ± 1.8            3 min 12 s",
    ]
    assert [row["name"] for row in json.loads(run_zoo("runs", "2FOLD", "--json").out)] == [folds.name]


def test_a_cross_validation_is_renamed_and_deleted_as_a_whole(run_zoo, folds):
    assert run_zoo("runs", "rename", folds.name, "signs").out == f"{folds.name} is now signs\n"
    assert (folds.parent / "signs/fold-2/run.json").exists()
    assert run_zoo("runs", "delete", "signs", "--yes").out == "signs is deleted\n"
    assert [path.name for path in folds.parent.iterdir() if not path.name.startswith(".")] == ["b-1"]


def test_a_deletion_asks_with_the_accuracy_of_all_folds(run_zoo, folds, monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True, readline=lambda: "n\n"))
    _, _, err = run_zoo("runs", "delete", folds.name)
    assert "90.0 % ± 4.5 (2 folds)" in err


def test_a_cross_validation_is_described(run_zoo, folds):
    assert json.loads(run_zoo("info", folds.name, "--json").out)[0]["results"]["accuracy"] == 0.9
    assert "has unreadable 'results'" in run_zoo("info", folds.name).err
    record = read_folds(folds)
    scores = {"accuracy": 0.9, "interval": [0.85, 0.94], "count": 80}
    more = {"groups": 0, "left_out": 3, "balanced_accuracy": 0.88, "macro_f1": 0.87, "folds": [scores, scores]}
    per_class = [{"name": "dog", "precision": 0.5, "recall": 0.25, "f1": 1 / 3, "support": 160}]
    write_folds(folds, replace(record, results={**scores, **more, "per_class": per_class, "seconds": 75.0}))
    out = run_zoo("info", folds.name).out
    assert "90.0 % ± 4.5 (80 photos, 2 folds)" in out
    assert "3 photos of the only group of a class" in out
    assert out.splitlines()[-1].split() == ["dog", "50.0", "%", "25.0", "%", "33.3", "%", "160"]
    write_folds(folds, replace(record, status="training", results={}))
    out = run_zoo("info", folds.name).out
    assert "stopped, 2 of 2 folds started" in out
    assert f"'zoo finetune --resume runs/{folds.name}' continues it." in out
