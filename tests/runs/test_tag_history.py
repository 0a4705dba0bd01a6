import json

import filelock
import pytest

import zoo.runs.tag_history
from zoo.errors import RunError
from zoo.runs.tag_history import (
    TAGS,
    Tag,
    current_user,
    is_folder_name,
    is_tag,
    locked,
    read_history,
    utc_now,
    write_history,
)

AN_ENTRY = {"name": "hotdog@1", "run": "r-1", "created": "", "weights": "", "at": "", "by": ""}


def test_a_history_is_read_as_it_was_written(tmp_path):
    history = [Tag(**AN_ENTRY), Tag(name="hotdog@prod", run="", created="", weights="", at=utc_now(), by="käthe")]
    assert read_history(tmp_path) == []
    write_history(tmp_path, history)
    assert read_history(tmp_path) == history
    assert [(tag.model, tag.label, tag.version) for tag in history] == [("hotdog", "1", 1), ("hotdog", "prod", None)]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"format": 2, "history": []}',
        '{"format": 1, "history": {}}',
        "[" * 100_000,
        *(
            json.dumps({"format": 1, "history": [entry]})
            for entry in (
                3,
                {},
                {**AN_ENTRY, "run": None},
                {**AN_ENTRY, "more": ""},
                {**AN_ENTRY, "run": "../../etc"},
                {**AN_ENTRY, "run": ".."},
                {**AN_ENTRY, "run": "a\\b"},
                {**AN_ENTRY, "run": "\ud800"},
                {**AN_ENTRY, "by": "\x1b[2J"},
                {**AN_ENTRY, "name": "../x@1"},
                {**AN_ENTRY, "name": "hotdog"},
            )
        ),
    ],
)
def test_a_broken_file_is_named(tmp_path, content):
    (tmp_path / TAGS).write_text(content)
    with pytest.raises(RunError, match=r"tags\.json"):
        read_history(tmp_path)


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("hotdog@3", True),
        ("hotdog@prod", True),
        ("a@b.c-d_e", True),
        ("hotdog", False),
        ("@3", False),
        ("a@b@c", False),
    ],
)
def test_a_tag_has_a_model_and_a_label(reference, expected):
    assert is_tag(reference) is expected


@pytest.mark.parametrize("name", [".", "..", "a/b", "a\\b", "C:x", "a\nb", "\x1b[2J"])
def test_folder_names_are_safe_on_every_system(name):
    assert not is_folder_name(name)
    assert is_folder_name("resnet18-linear-photos-1")


def test_a_lock_that_is_not_released_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo.runs.tag_history, "_LOCK_TIMEOUT", 0.05)
    with (
        filelock.FileLock(tmp_path / ".tags.json.lock", is_singleton=False),
        pytest.raises(RunError, match="Another process has locked"),
        locked(tmp_path),
    ):
        pytest.fail("it is locked")
    with locked(tmp_path):
        pass


def test_a_missing_folder_cannot_be_locked(tmp_path):
    with pytest.raises(RunError, match="There is no folder"), locked(tmp_path / "runs"):
        pytest.fail("there is no such folder")
    assert not (tmp_path / "runs").exists()


def test_a_user_may_have_no_name(monkeypatch):
    def fail():
        raise OSError("No username set in the environment")

    assert current_user().isprintable()
    monkeypatch.setattr("getpass.getuser", fail)
    assert current_user() == ""
