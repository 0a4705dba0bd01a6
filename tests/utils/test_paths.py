import sys
from pathlib import Path

import pytest

from zoo.errors import ConfigError
from zoo.utils.paths import dataset_folder, home


def test_home_follows_the_variable(monkeypatch, tmp_path):
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
def test_home_is_the_cache_of_the_system_otherwise(monkeypatch, tmp_path, value):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("ZOO_HOME", raising=False)
    if value is not None:
        monkeypatch.setenv("ZOO_HOME", value)
    assert home() == tmp_path / "finetune-zoo"


def test_dataset_folder_is_below_home(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    assert dataset_folder("hotdog") == tmp_path / "datasets" / "hotdog"
    assert dataset_folder("acme/cats") == tmp_path / "datasets" / "acme" / "cats"


@pytest.mark.parametrize("name", ["", "..", "../x", "a/../../b", "/etc", "a\\b", "c:x", "a\0"])
def test_a_name_that_leaves_the_cache_is_refused(name):
    with pytest.raises(ConfigError, match="cannot name a folder"):
        dataset_folder(name)
