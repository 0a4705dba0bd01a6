import errno
import math
import multiprocessing
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from run_files import record_of, write_json_record

from zoo.errors import RunError
from zoo.preprocess import Preprocess, preprocess_to_dict
from zoo.runs.lock import LOCK
from zoo.runs.open import open_run
from zoo.runs.record import RunRecord, write_record
from zoo.runs.run import RunFolder, append_metrics, create_run, list_runs
from zoo.training.resume import locked_run

PREPROCESS = Preprocess(size=(224, 192), resize=256, interpolation="bicubic")


def a_record(**more):
    return {
        "config": {"backbone": "resnet18"},
        "classes": ["hotdog", "not-hotdog"],
        "preprocess": preprocess_to_dict(PREPROCESS),
        "created": "2025-01-01T00:00:00",
        "status": "finished",
        **more,
    }


def a_run(runs, name, **more):
    folder = runs / name
    folder.mkdir(parents=True)
    write_json_record(folder, a_record(**more))
    return folder


def a_full_disk(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_run_has_the_values_of_its_record(tmp_path):
    run = open_run(a_run(tmp_path, "r-1", results={"test": {"accuracy": 0.93}}))
    assert run.name == "r-1"
    assert run.classes == ("hotdog", "not-hotdog")
    assert run.config == {"backbone": "resnet18"}
    assert run.preprocess == PREPROCESS
    assert run.results == {"test": {"accuracy": 0.93}}
    assert run.finished
    assert run.weights_path == tmp_path / "r-1" / "model.safetensors"


def test_an_unfinished_run_has_no_results(tmp_path):
    run = open_run(a_run(tmp_path, "r-1", status="training"))
    assert run.results == {}
    assert not run.finished


TRAIN = """
import pathlib, sys, time
from zoo.training.resume import locked_run
with locked_run(pathlib.Path(sys.argv[1])):
    print("training", flush=True)
    time.sleep(60)
"""


def test_a_run_whose_process_was_killed_is_stopped(tmp_path):
    run = open_run(a_run(tmp_path, "r-1", status="training"))
    assert run.status == "stopped"
    with subprocess.Popen([sys.executable, "-c", TRAIN, run.path], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline().strip() == b"training"
        assert run.status == "training"
        process.kill()
    assert (run.path / LOCK).exists()
    assert run.status == "stopped"
    with locked_run(run.path):
        assert run.status == "training"


@pytest.mark.parametrize("status", ["interrupted", "finished"])
def test_a_process_that_ended_by_itself_has_recorded_the_status(tmp_path, status):
    assert open_run(a_run(tmp_path, "r-1", status=status)).status == status


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"format": 1, "config": {"backb',
        b"\xff\xfe\x00",
        b"[1]",
        b"null",
        b'{"format": 3}',
        b"{}",
        b"[" * 100_000,
        b'{"format": ' + b"1" * 5000 + b"}",
    ],
    ids=range(10),
)
def test_a_broken_record_is_named_and_skipped_in_listings(tmp_path, content):
    a_run(tmp_path, "whole-1")
    (tmp_path / "broken-1").mkdir()
    (tmp_path / "broken-1" / "run.json").write_bytes(content)
    with pytest.raises(RunError, match=r"broken-1.run\.json"):
        open_run("broken-1", runs=tmp_path)
    assert [run.name for run in list_runs(tmp_path)] == ["whole-1"]


def test_a_record_that_is_a_folder_is_no_run(tmp_path):
    (tmp_path / "r-1" / "run.json").mkdir(parents=True)
    with pytest.raises(RunError, match="There is no run"):
        open_run("r-1", runs=tmp_path)
    assert list_runs(tmp_path) == []


@pytest.mark.parametrize("key", ["config", "classes", "preprocess"])
@pytest.mark.parametrize("value", [None, 3, "text", True])
def test_a_value_of_the_wrong_type_is_named(tmp_path, key, value):
    folder = a_run(tmp_path, "r-1", **{key: value})
    with pytest.raises(RunError, match=rf"run\.json has (no|an unreadable) '{key}'"):
        getattr(open_run(folder), key)


def test_results_of_the_wrong_type_are_named(tmp_path):
    with pytest.raises(RunError, match="an unreadable 'results'"):
        open_run(a_run(tmp_path, "r-1", results=[1]))


def test_runs_are_listed_oldest_first(tmp_path):
    a_run(tmp_path, "a-1", created="2025-02-01")
    a_run(tmp_path, "b-1", created="2025-01-01")
    a_run(tmp_path, "c-1", created=None)
    (tmp_path / "not a run").mkdir()
    (tmp_path / "a file").touch()
    assert [run.name for run in list_runs(tmp_path)] == ["b-1", "a-1", "c-1"]
    assert list_runs(tmp_path / "nowhere") == []
    assert list_runs(tmp_path / "a file") == []


def test_new_runs_are_numbered_consecutively(tmp_path):
    assert create_run(tmp_path / "new" / "runs", stem="r").name == "r-1"
    for name in ("r-7", "r-x", "rr-9", "r-1-3", "r-99999999999999999999"):
        (tmp_path / name).mkdir()
    assert create_run(tmp_path, stem="r").name == "r-8"


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("timm/resnet18.a1_in1k-linear", "timm-resnet18.a1_in1k-linear-1"),
        ("../../etc", "etc-1"),
        ("my photos (2)", "my-photos-2-1"),
        ("a\nb\0c\udcff", "a-b-c-1"),
        ("热狗-é", "热狗-é-1"),
        ("...", "run-1"),
        ("[*?]", "run-1"),
        ("", "run-1"),
    ],
)
def test_unsuitable_characters_become_dashes(tmp_path, stem, name):
    assert create_run(tmp_path, stem=stem) == tmp_path / name
    assert create_run(tmp_path, stem=stem).name == f"{name[:-1]}2"


def test_a_long_stem_is_cut(tmp_path):
    assert create_run(tmp_path, stem="狗" * 300).is_dir()


def test_processes_that_create_runs_at_the_same_time_get_different_ones(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(3, mp_context=spawn) as pool:
        created = list(pool.map(_create_many, [tmp_path] * 3))
    names = [name for each in created for name in each]
    assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())
    assert len(set(names)) == 60


def _create_many(runs):
    return [create_run(runs, stem="r").name for _ in range(20)]


def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="Cannot create a run folder in") as caught:
        create_run(tmp_path / "file", stem="r")
    assert caught.value.hint == "Choose another folder with --runs DIR."
    monkeypatch.setattr(Path, "mkdir", a_full_disk)
    with pytest.raises(RunError, match="No space left on device"):
        create_run(tmp_path, stem="r")


def test_nan_and_infinities_are_written_as_null(tmp_path):
    folder = a_run(tmp_path, "r-1")
    write_record(folder, RunRecord(results={"loss": math.nan, "all": [math.inf, (1.0, -math.inf)]}))
    assert open_run(folder).results == {"loss": None, "all": [None, [1.0, None]]}
    append_metrics(folder, {"epoch": 1, "train_accuracy": math.nan, "val_loss": math.inf, "best": True})
    assert open_run(folder).metrics() == [{"epoch": 1, "train_accuracy": None, "val_loss": None, "best": True}]


def test_a_run_without_epochs_has_no_metrics(tmp_path):
    assert open_run(a_run(tmp_path, "r-1")).metrics() == []


def test_an_incomplete_last_row_is_skipped_and_overwritten(tmp_path):
    folder = a_run(tmp_path, "r-1")
    run = open_run(folder)
    (folder / "metrics.jsonl").write_text('{"epoch": 1}\n{"epoch": 2, "val_lo')
    assert run.metrics() == [{"epoch": 1}]
    append_metrics(folder, {"epoch": 2})
    assert run.metrics() == [{"epoch": 1}, {"epoch": 2}]
    assert (folder / "metrics.jsonl").read_text() == '{"epoch": 1}\n{"epoch": 2}\n'


def test_repeated_epochs_replace_their_rows(tmp_path):
    folder = a_run(tmp_path, "r-1")
    for epoch in (0, 1, 2, 3, 2):
        append_metrics(folder, {"epoch": epoch})
    assert [row["epoch"] for row in open_run(folder).metrics()] == [0, 1, 2]


@pytest.mark.parametrize("line", ["nonsense", "3", "[]", "{}", '{"epoch": "one"}', "[" * 100_000])
def test_a_broken_row_in_the_middle_is_named(tmp_path, line):
    folder = a_run(tmp_path, "r-1")
    (folder / "metrics.jsonl").write_text(f'{{"epoch": 1}}\n{line}\n{{"epoch": 3}}\n')
    with pytest.raises(RunError, match=r"metrics\.jsonl: line 2 is not the result of an epoch"):
        open_run(folder).metrics()


def test_metrics_that_cannot_be_read_are_named(tmp_path):
    folder = a_run(tmp_path, "r-1")
    (folder / "metrics.jsonl").write_bytes(b'{"epoch": 1, "x": "\xff"}\n')
    with pytest.raises(RunError, match=r"metrics\.jsonl cannot be read"):
        open_run(folder).metrics()


def test_a_full_disk_is_an_error_and_leaves_the_file_unchanged(tmp_path, monkeypatch):
    folder = a_run(tmp_path, "r-1")
    append_metrics(folder, {"epoch": 1})
    monkeypatch.setattr(Path, "write_text", a_full_disk)
    for write in (lambda: write_record(folder, RunRecord()), lambda: append_metrics(folder, {"epoch": 2})):
        with pytest.raises(RunError, match=r"Cannot write .*: No space left on device") as caught:
            write()
        assert "disk full" in caught.value.hint
    run = open_run(folder)
    assert run.record == record_of(**a_record())
    assert run.metrics() == [{"epoch": 1}]
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.jsonl", "run.json"]


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(RunError, match=r"Cannot write .*run\.json: No such file"):
        write_record(tmp_path / "gone", RunRecord())


@pytest.mark.parametrize("check", [None, 3, {}, {"findings": 3}, {"findings": [3, {"kind": "other"}]}])
def test_a_record_without_findings_has_no_leaks(tmp_path, check):
    assert RunFolder(tmp_path, record_of(data={"check": check})).leaks == ()
    assert RunFolder(tmp_path, record_of(data={})).leaks == ()
