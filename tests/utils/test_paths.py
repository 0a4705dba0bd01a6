import sys
from pathlib import Path

import pytest

from zoo.errors import ConfigError
from zoo.utils.paths import cache_folder, home, missing_path_advice, parse_path


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
    for path in (r"b\c", "photos", "missing", "C:/photos", "a\0b"):
        assert missing_path_advice(path) == ""


@pytest.mark.parametrize(("text", "reason"), [("a\0b", "contains a null byte"), ("x" * 5000, "is too long")])
def test_parse_path_rejects_text_that_is_no_path(text, reason):
    with pytest.raises(ConfigError, match=reason):
        parse_path(text)
