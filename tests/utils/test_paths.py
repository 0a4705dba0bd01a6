import sys
from pathlib import Path

import pytest

from zoo.errors import ConfigError
from zoo.utils.paths import (
    cache_folder,
    describe_missing_path,
    home,
    is_path_like,
    missing_path_advice,
    parse_path,
)


def test_home_follows_the_environment_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "here"))
    assert home() == tmp_path / "here"


def test_home_expands_the_tilde_and_is_absolute(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_HOME", "~/zoo")
    assert home() == Path.home() / "zoo"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_HOME", "relative")
    assert home() == tmp_path / "relative"


@pytest.mark.skipif(sys.platform != "linux", reason="XDG_CACHE_HOME is a Linux convention")
@pytest.mark.parametrize("value", [None, ""])
def test_home_defaults_to_the_cache_of_the_system(monkeypatch, tmp_path, value):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("ZOO_HOME", raising=False)
    if value is not None:
        monkeypatch.setenv("ZOO_HOME", value)
    assert home() == tmp_path / "finetune-zoo"


def test_cache_folder_is_below_home(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    assert cache_folder("datasets", "hotdog") == tmp_path / "datasets" / "hotdog"
    assert cache_folder("datasets", "acme/cats") == tmp_path / "datasets" / "acme" / "cats"


@pytest.mark.parametrize("name", ["", "..", "../x", "a/../../b", "/etc", "a\\b", "c:x", "a\0"])
def test_cache_folder_rejects_a_name_that_leaves_it(name):
    with pytest.raises(ConfigError, match="is not a valid folder name"):
        cache_folder("datasets", name)


def test_parse_path_expands_the_tilde():
    assert parse_path("~/photos") == Path.home() / "photos"
    assert parse_path("~nobody-by-this-name/photos") == Path("~nobody-by-this-name/photos")


@pytest.mark.parametrize("value", [None, 3, b"photos", ["photos"], {}])
def test_parse_path_rejects_other_types_with_what_can_be_passed(value):
    with pytest.raises(ConfigError, match=f"A path cannot be of type {type(value).__name__}") as caught:
        parse_path(value)
    assert caught.value.hint == "Pass a path as text or as a pathlib.Path."


def test_missing_paths_with_a_common_mistake_get_advice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a").touch()
    (tmp_path / r"b\c").touch()
    assert missing_path_advice(r"photos\a") == (
        "It has backslashes, as on Windows. Separate the parts by slashes: photos/a."
    )
    assert missing_path_advice(r"photos\b") == "It has backslashes, as on Windows. Separate the parts by slashes."
    assert "download it first" in missing_path_advice("https://example.org/photos.zip")
    for path in (r"b\c", "photos", "missing", "a\0b", "~"):
        assert missing_path_advice(path) == ""


def test_a_missing_path_has_near_names_in_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    (tmp_path / "photos" / "cat" / "first.jpg").touch()
    (tmp_path / "photo.jpg").touch()
    assert missing_path_advice("phtos") == "Did you mean photos?"
    assert missing_path_advice("./photos/cat/frist.jpg") == "Did you mean photos/cat/first.jpg?"
    assert missing_path_advice(tmp_path / "phot.jpg") == f"Did you mean {(tmp_path / 'photo.jpg').as_posix()}?"
    assert missing_path_advice("~/phot.jpg") == "Did you mean ~/photo.jpg?"
    # What is missing is the folder, in which a file cannot be meant.
    assert missing_path_advice("phot/cat/first.jpg") == "There is no folder phot either. Did you mean photos?"
    assert missing_path_advice("~nobody-of-this-name/r-1") == "There is no folder ~nobody-of-this-name either."


def test_only_the_form_of_a_text_makes_it_a_path():
    for text in ("photos/cat", "./photos", "~", "..", r"photos\cat", "photo.JPG", "runs.zip", "model.onnx.age"):
        assert is_path_like(text)
    for text in ("photos", "resnet50.a1_in1k", "resnet18-linear-v1.2", "hotdog@prod", ""):
        assert not is_path_like(text)
    assert describe_missing_path("runs/r-1") == "There is no file or folder runs/r-1."
    assert describe_missing_path("x" * 300 + ".zip") == f"There is no file {'x' * 200}...."


@pytest.mark.parametrize(("text", "reason"), [("a\0b", "contains a null byte"), ("x" * 5000, "is too long")])
def test_parse_path_rejects_text_that_is_no_path(text, reason):
    with pytest.raises(ConfigError, match=reason):
        parse_path(text)
