import json
import os
import signal
import subprocess
import sys

import pytest
from run_files import CREATED, SCORES, write_json_record

import zoo.runs.manage
from zoo.errors import RunError
from zoo.runs.lock import locked_folder
from zoo.runs.manage import DELETED, check_deletion, delete_run, rename_run
from zoo.runs.manifest import check_folder, write_manifest
from zoo.runs.open import open_run
from zoo.runs.run import list_runs
from zoo.runs.tag_history import read_history
from zoo.runs.tags import find_tag, list_tags, tag_run, untag


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def make_run(runs):
    def make(name, *, status="finished", created=CREATED, **config):
        folder = runs / name
        folder.mkdir(parents=True)
        results = {"test": SCORES} if status == "finished" else {}
        write_json_record(folder, {"status": status, "created": created, "results": results, "config": config})
        (folder / "model.safetensors").write_bytes(b"weights")
        (folder / "graphs").mkdir()
        (folder / "graphs" / "more").write_bytes(b"more")
        write_manifest(folder)
        return open_run(folder)

    return make


def files_of(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_deleted_run_is_gone_with_all_its_files(runs, make_run):
    run, other = make_run("r-1"), make_run("r-2")
    delete_run(run)
    assert [each.path for each in list_runs(runs)] == [other.path]
    assert {path.partition("/")[0] for path in files_of(runs)} <= {"r-2", ".tags.json.lock"}


def test_a_deletion_from_inside_the_run(runs, make_run, monkeypatch):
    make_run("r-1")
    monkeypatch.chdir(runs / "r-1")
    delete_run(open_run("."))
    assert list_runs(runs) == []


def test_a_tagged_run_is_not_deleted_before_its_tags_are_removed(runs, make_run):
    run = make_run("r-1")
    for name in ("hotdog", "hotdog@prod"):
        tag_run(run, name, runs=runs)
    with pytest.raises(RunError, match=r"The run r-1 is tagged hotdog@1, hotdog@prod\.") as caught:
        delete_run(run)
    assert caught.value.hint == "Remove the tag first, 'zoo runs untag hotdog@1', or keep the run."
    for name in ("hotdog@1", "hotdog@prod"):
        untag(name, runs=runs)
    delete_run(run)
    assert not run.path.exists()


def test_the_tag_of_an_earlier_run_of_that_name_does_not_matter(runs, make_run):
    tag_run(make_run("r-1"), "hotdog", runs=runs)
    (runs / "r-1").rename(runs / "elsewhere")
    delete_run(make_run("r-1", created="2026-02-01T00:00:00+00:00"))
    assert not (runs / "r-1").exists()


def test_a_run_that_is_trained_is_neither_deleted_nor_renamed(make_run):
    run = make_run("r-1", status="training")
    with locked_folder(run.path):
        for change in (check_deletion, delete_run, lambda run: rename_run(run, "r-2")):
            with pytest.raises(RunError, match=f"A process is training {run.path}"):
                change(run)
    assert files_of(run.path) == ["graphs", "graphs/more", "manifest.json", "model.safetensors", "run.json"]
    delete_run(run)
    assert not run.path.exists()


@pytest.mark.skipif(os.name != "posix", reason="links need privileges on Windows")
def test_a_link_is_refused(runs, make_run):
    make_run("r-1")
    (runs / "link").symlink_to(runs / "r-1")
    for change in (delete_run, lambda run: rename_run(run, "r-2")):
        with pytest.raises(RunError, match="link is a link"):
            change(open_run(runs / "link"))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_to_is_named(runs, make_run):
    run = make_run("r-1")
    runs.chmod(0o500)
    try:
        with pytest.raises(RunError, match="Cannot write to"):
            delete_run(run)
    finally:
        runs.chmod(0o700)


KILLED = """
import os, pathlib, signal, sys
import zoo.runs.manage as manage
from zoo.runs.open import open_run
def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(manage.shutil if sys.argv[2] == "rmtree" else manage, sys.argv[2], die)
manage.delete_run(open_run(pathlib.Path(sys.argv[1])))
"""


@pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(("step", "left"), [("_move", ["r-1", "r-2"]), ("rmtree", ["r-2"])])
def test_a_deletion_that_is_killed_leaves_the_whole_run_or_none(runs, make_run, step, left):
    run, other = make_run("r-1"), make_run("r-2")
    done = subprocess.run([sys.executable, "-c", KILLED, run.path, step], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [each.name for each in list_runs(runs)] == left
    for each in list_runs(runs):
        assert check_folder(each.path) == []
    delete_run(other)  # which also removes what the killed process has left
    assert not (runs / DELETED).exists()


def test_a_renamed_run_keeps_everything(runs, make_run):
    run = make_run("r-1")
    renamed = rename_run(run, "best of all")
    assert renamed == open_run("best of all", runs=runs)
    assert not run.path.exists()
    assert check_folder(renamed.path) == []


def test_the_tags_and_their_history_follow(runs, make_run):
    run, other = make_run("r-1"), make_run("r-2", created="2026-02-01T00:00:00+00:00")
    tag_run(run, "hotdog", runs=runs)
    tag_run(run, "hotdog@prod", runs=runs)
    tag_run(other, "hotdog@prod", runs=runs)
    renamed = rename_run(run, "best")
    assert open_run("hotdog@1", runs=runs).path == renamed.path
    assert find_tag("hotdog@prod", runs=runs).run == "r-2"
    assert [tag.run for tag in read_history(runs)] == ["best", "best", "r-2"]
    assert tag_run(renamed, "hotdog@1", runs=runs).run == "best"  # it is still the run of that number


def test_unfinished_runs_that_need_the_weights_follow(runs, make_run, monkeypatch):
    monkeypatch.chdir(runs.parent)
    run = make_run("r-1")
    make_run("by-name", status="interrupted", weights="r-1")
    make_run("by-path", status="interrupted", weights="runs/r-1")
    make_run("finished", weights="r-1")
    saved = make_run("saved", status="interrupted", weights="r-1")
    (saved.path / "checkpoint.pt").write_bytes(b"has all weights")
    make_run("other", status="interrupted", weights="pretrained")
    rename_run(run, "best")
    assert {each.name: each.record.config.get("weights") for each in list_runs(runs)} == {
        "best": None,
        "by-name": "best",
        "by-path": str(runs / "best"),
        "finished": "r-1",
        "saved": "r-1",
        "other": "pretrained",
    }


def test_no_run_is_renamed_while_another_is_trained_from_its_weights(runs, make_run):
    run, other = make_run("r-1"), make_run("r-2", status="training", weights="r-1")
    with locked_folder(other.path), pytest.raises(RunError, match=f"training {other.path} from the weights of r-1"):
        rename_run(run, "best")
    assert run.path.exists()


def test_tables_of_comparisons_follow(runs, make_run):
    run = make_run("r-1")
    table = runs / "comparison.json"
    table.write_text(json.dumps([{"name": "lr=1", "runs": ["runs/r-1", "runs/r-12"], "mean": 0.5}]))
    (runs / "comparison-2.json").write_text("not a table")
    rename_run(run, "best")
    assert json.loads(table.read_text()) == [{"name": "lr=1", "runs": ["runs/best", "runs/r-12"], "mean": 0.5}]
    assert (runs / "comparison-2.json").read_text() == "not a table"


def test_a_rename_that_fails_changes_nothing(runs, make_run, monkeypatch):
    run = make_run("r-1")
    tag_run(run, "hotdog", runs=runs)
    before = (runs / "tags.json").read_bytes()

    def fail(folder, target):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(zoo.runs.manage, "_move", fail)
    with pytest.raises(RunError, match="r-1 cannot be renamed: Invalid cross-device link"):
        rename_run(run, "best")
    assert (runs / "tags.json").read_bytes() == before
    assert open_run("hotdog@1", runs=runs).path == run.path


def test_a_rename_that_was_killed_before_the_folder_moved_is_completed_by_the_same_call(runs, make_run, monkeypatch):
    run = make_run("r-1")
    tag_run(run, "hotdog", runs=runs)
    with monkeypatch.context() as patch:
        patch.setattr(zoo.runs.manage, "_apply", lambda edits, *_: [path.write_text(t) for path, t in edits.items()])
        rename_run(run, "best")
    assert run.path.exists()
    rename_run(open_run("r-1", runs=runs), "best")
    assert [tag.run for tag in list_tags(runs)] == ["best"]
    assert open_run("hotdog@1", runs=runs).name == "best"


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", "C:x", ".hidden", "-x", " x", "a\nb", "hotdog@1", "a\0"]
)
def test_invalid_names_are_refused(make_run, name):
    with pytest.raises(RunError, match="is not a valid name for a run"):
        rename_run(make_run("r-1"), name)


def test_a_name_that_is_taken_or_too_long_is_refused(runs, make_run):
    run = make_run("r-1")
    (runs / "notes").mkdir()
    with pytest.raises(RunError, match="notes exists"):
        rename_run(run, "notes")
    with pytest.raises(RunError, match="cannot be renamed: File name too long"):
        rename_run(run, "x" * 300)
    assert run.path.exists()
