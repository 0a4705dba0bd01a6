import json
import multiprocessing
import shutil
from concurrent.futures import ProcessPoolExecutor

import pytest
from run_files import write_json_record

from zoo.errors import IntegrityError, RunError
from zoo.runs.manifest import write_manifest
from zoo.runs.open import locate_path, open_run
from zoo.runs.tag_history import TAGS, is_tag, read_history
from zoo.runs.tags import find_tag, has_run, list_tags, open_tagged, tag_run, tags_by_run, untag


def a_run(runs, name, *, status="finished", created=None, weights=b"weights"):
    folder = runs / name
    folder.mkdir(parents=True)
    write_json_record(folder, {"status": status, "created": created or f"2026-01-01T00:00:00+00:00 {name}"})
    (folder / "model.safetensors").write_bytes(weights)
    return open_run(folder)


@pytest.fixture
def runs(tmp_path):
    folder = tmp_path / "runs"
    for name in ("r-1", "r-2", "r-3"):
        a_run(folder, name)
    return folder


def tag(runs, run, name):
    return tag_run(open_run(run, runs=runs), name, runs=runs).name


def test_a_model_name_alone_gets_the_next_number(runs):
    assert tag(runs, "r-1", "hotdog") == "hotdog@1"
    assert tag(runs, "r-2", "hotdog") == "hotdog@2"
    assert tag(runs, "r-2", "hotdog@7") == "hotdog@7"
    assert tag(runs, "r-3", "hotdog") == "hotdog@8"
    assert tag(runs, "r-3", "pizza") == "pizza@1"
    assert [tag.name for tag in list_tags(runs)] == ["hotdog@1", "hotdog@2", "hotdog@7", "hotdog@8", "pizza@1"]


def test_a_run_is_found_by_its_tag(runs):
    tag(runs, "r-2", "hotdog@3")
    tag(runs, "hotdog@3", "hotdog@prod")
    assert open_run("hotdog@3", runs=runs).path == runs / "r-2"
    assert open_run("hotdog@prod", runs=runs).name == "r-2"
    assert locate_path("hotdog@prod", runs=runs) == runs / "r-2"
    assert locate_path(runs / TAGS, runs=runs) == runs / TAGS
    with pytest.raises(RunError, match="There is no file or folder"):
        locate_path("a\0b", runs=runs)


def test_a_folder_takes_precedence_over_a_tag_of_its_name(runs):
    a_run(runs, "odd@1")
    tag(runs, "r-1", "odd@1")
    assert open_run("odd@1", runs=runs).name == "odd@1"


def test_latest_is_the_highest_number(runs):
    for number, run in ((9, "r-1"), (10, "r-2")):
        tag(runs, run, f"hotdog@{number}")
    tag(runs, "r-3", "hotdog@prod")
    assert open_run("hotdog@latest", runs=runs).name == "r-2"
    untag("hotdog@latest", runs=runs)
    assert find_tag("hotdog@latest", runs=runs).name == "hotdog@9"
    with pytest.raises(RunError, match="There is no tag 'pizza@latest'"):
        find_tag("pizza@latest", runs=runs)


def test_a_numbered_version_never_moves(runs):
    tag(runs, "r-1", "hotdog@3")
    with pytest.raises(RunError, match=r"hotdog@3 was given to the run r-1 on 2.*; a numbered version never") as caught:
        tag(runs, "r-2", "hotdog@3")
    assert caught.value.hint == "'zoo runs tag r-2 hotdog' assigns the next number, hotdog@4."
    untag("hotdog@3", runs=runs)
    with pytest.raises(RunError, match="never moves"):
        tag(runs, "r-2", "hotdog@3")
    assert tag(runs, "r-2", "hotdog") == "hotdog@4"
    assert tag(runs, "r-1", "hotdog@3") == "hotdog@3"  # the run that it belonged to


def test_a_label_moves_and_its_history_remains(runs):
    for run in ("r-1", "r-2", "r-2"):
        tag(runs, run, "hotdog@prod")
    assert open_run("hotdog@prod", runs=runs).name == "r-2"
    assert untag("hotdog@prod", runs=runs).run == "r-2"
    assert [(tag.name, tag.run) for tag in read_history(runs)] == [
        ("hotdog@prod", "r-1"),
        ("hotdog@prod", "r-2"),
        ("hotdog@prod", ""),
    ]
    assert all(tag.at.endswith("+00:00") for tag in read_history(runs))
    with pytest.raises(RunError, match="There is no tag 'hotdog@prod'"):
        open_run("hotdog@prod", runs=runs)
    with pytest.raises(RunError, match="There is no tag 'hotdog@prod'"):
        untag("hotdog@prod", runs=runs)


def test_an_unknown_tag_lists_close_matches(runs):
    tag(runs, "r-1", "hotdog@prod")
    with pytest.raises(RunError) as caught:
        open_run("hotdog@prd", runs=runs)
    assert caught.value.hint == "Did you mean hotdog@prod?"
    with pytest.raises(RunError) as caught:
        find_tag("zzz@1", runs=runs)
    assert caught.value.hint == f"'zoo runs tags' lists all of {runs}/."
    with pytest.raises(RunError) as caught:
        find_tag("zzz@1", runs=runs / "r-1")
    assert caught.value.hint == "'zoo runs tag RUN zzz@1' creates it."


@pytest.mark.parametrize(
    "name",
    [
        "../x@1",
        "x@../1",
        "x@",
        "@1",
        "",
        "x@y@z",
        "a/b@1",
        "a\\b@1",
        "x@1\n",
        "x y@1",
        "-x@1",
        ".x@1",
        "x.@1",
        "x@..",
        "x@0",
        "x@01",
        "x@1234567890",
        "x@latest",
        "x" * 65,
        "ä@1",
        "x@\0",
        "x@²",
    ],
)
def test_hostile_names_are_refused(runs, name):
    with pytest.raises(RunError, match="is not a valid tag"):
        tag(runs, "r-1", name)
    assert not (runs / TAGS).exists()
    if name not in ("x@0", "x@01", "x@1234567890", "x@latest"):
        assert not is_tag(name)


def test_an_unfinished_run_and_one_in_another_folder_are_refused(runs, tmp_path):
    a_run(runs, "half-1", status="interrupted")
    with pytest.raises(RunError, match="is not finished") as caught:
        tag(runs, "half-1", "hotdog")
    assert caught.value.hint == "'zoo finetune --resume half-1' resumes it."
    elsewhere = a_run(tmp_path / "other", "r-9")
    with pytest.raises(RunError, match="is not in"):
        tag_run(elsewhere, "hotdog", runs=runs)
    (runs / "r-1" / "model.safetensors").unlink()
    with pytest.raises(RunError, match="No such file"):
        tag(runs, "r-1", "hotdog")
    a_run(runs, "r\n4")
    with pytest.raises(RunError, match="cannot be tagged"):
        tag(runs, "r\n4", "hotdog")


def test_a_deleted_and_a_replaced_run_are_errors(runs):
    tag(runs, "r-1", "hotdog@1")
    tag(runs, "r-2", "hotdog@2")
    shutil.rmtree(runs / "r-1")
    with pytest.raises(RunError, match=r"hotdog@1 is the run r-1, which no longer exists"):
        open_tagged("hotdog@1", runs=runs)
    assert [has_run(tag, runs=runs) for tag in list_tags(runs)] == [False, True]
    a_run(runs, "r-1", created="2030-01-01T00:00:00+00:00")
    with pytest.raises(RunError, match=r"but the one in .* is of 2030"):
        open_run("hotdog@1", runs=runs)
    assert tags_by_run(runs) == {"r-2": ["hotdog@2"]}


def test_a_tagged_run_that_was_changed_is_refused(runs):
    write_manifest(runs / "r-1")
    tag(runs, "r-1", "hotdog@1")
    assert open_run("hotdog@1", runs=runs).name == "r-1"
    record = runs / "r-1" / "run.json"
    record.write_text(record.read_text() + " ")
    with pytest.raises(IntegrityError, match=r"is not what was tagged hotdog@1: run\.json changed"):
        open_run("hotdog@1", runs=runs)
    write_manifest(runs / "r-1")
    (runs / "r-1" / "model.safetensors").write_bytes(b"others")
    for open_it in (open_run, locate_path):
        with pytest.raises(IntegrityError, match=r"is not what was tagged hotdog@1: model\.safetensors changed"):
            open_it("hotdog@1", runs=runs)
    assert open_run("r-1", runs=runs).name == "r-1"  # by its own name it is whatever it is
    assert open_tagged("hotdog@1", runs=runs, check=False).name == "r-1"


AN_ENTRY = {"name": "hotdog@1", "run": "r-1", "created": "", "weights": "", "at": "", "by": ""}


def test_a_broken_file_is_named_and_not_changed(runs):
    content = json.dumps({"format": 1, "history": [{**AN_ENTRY, "run": "../../etc"}]})
    (runs / TAGS).write_text(content)
    for attempt in (
        lambda: open_run("hotdog@1", runs=runs),
        lambda: tag(runs, "r-1", "hotdog"),
        lambda: untag("hotdog@1", runs=runs),
        lambda: list_tags(runs),
    ):
        with pytest.raises(RunError, match=r"runs.tags\.json"):
            attempt()
    assert (runs / TAGS).read_text() == content
    assert open_run("r-1", runs=runs).name == "r-1"


def test_a_run_name_longer_than_any_file_name_is_a_missing_run(runs):
    (runs / TAGS).write_text(json.dumps({"format": 1, "history": [{**AN_ENTRY, "run": "x" * 5000}]}))
    with pytest.raises(RunError, match="which no longer exists"):
        open_run("hotdog@1", runs=runs)


def test_processes_that_tag_at_once_lose_nothing(runs):
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as pool:
        names = [name for tagged in pool.map(_tag_many, [(runs, "r-1"), (runs, "r-2")]) for name in tagged]
    assert sorted(names) == sorted(f"hotdog@{number}" for number in range(1, 41))
    assert len(read_history(runs)) == 40


def _tag_many(where):
    runs, run = where
    return [tag(runs, run, "hotdog") for _ in range(20)]


def test_tagging_without_runs_makes_no_folder(tmp_path):
    with pytest.raises(RunError, match="There is no folder"):
        untag("hotdog@1", runs=tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    assert list_tags(tmp_path / "nowhere") == []


def test_a_user_without_a_name_can_set_tags(runs, monkeypatch):
    def nobody():
        raise OSError("No username set in the environment")

    monkeypatch.setattr("getpass.getuser", nobody)
    tag(runs, "r-1", "hotdog")
    assert find_tag("hotdog@1", runs=runs).by == ""
