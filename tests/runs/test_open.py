import os
from pathlib import Path

import pytest
from run_files import VALID_FILES, write_json_record

from zoo.config import make_config
from zoo.errors import ConfigError, RunError, UnknownNameError, ZooError
from zoo.models.offers import find_offers
from zoo.runs.open import explained_missing_plugin, load_config, locate_path, open_run
from zoo.runs.record import RECORD
from zoo.runs.run import list_runs


def a_run(runs, name):
    folder = runs / name
    folder.mkdir(parents=True)
    write_json_record(folder, VALID_FILES[RECORD])
    return folder


def test_a_run_is_found_by_path_by_name_and_from_inside(tmp_path, monkeypatch):
    folder = a_run(tmp_path / "runs", "r-1")
    assert open_run(str(folder)).path == folder
    assert open_run("r-1", runs=tmp_path / "runs").path == folder
    monkeypatch.chdir(folder)
    assert open_run(".").name == "r-1"


def test_an_unknown_run_lists_close_matches(tmp_path):
    a_run(tmp_path, "resnet18-linear-hotdog-1")
    with pytest.raises(RunError, match="no run 'resnet18-linear-hotdog-2'") as caught:
        open_run("resnet18-linear-hotdog-2", runs=tmp_path)
    assert caught.value.hint == "Did you mean resnet18-linear-hotdog-1?"
    with pytest.raises(RunError) as caught:
        open_run("runs/resnet18-linear-hotdog/", runs=tmp_path)
    assert caught.value.hint == "Did you mean resnet18-linear-hotdog-1?"
    with pytest.raises(RunError) as caught:
        open_run("zzz", runs=tmp_path)
    assert caught.value.hint == f"The last runs in {tmp_path}/ are resnet18-linear-hotdog-1."


def test_where_a_file_may_be_meant_a_missing_one_is_no_missing_run(tmp_path):
    a_run(tmp_path, "resnet18-linear-hotdog-1")
    with pytest.raises(RunError, match=r"There is no file nosuch\.onnx\."):
        locate_path("nosuch.onnx", runs=tmp_path)
    with pytest.raises(RunError, match=r"no file or folder '[^']+', and no run of that name in") as caught:
        locate_path("resnet18-linear-hotdog-2", runs=tmp_path)
    assert caught.value.hint == "Did you mean resnet18-linear-hotdog-1?"


@pytest.mark.parametrize("reference", ["x" * 5000, "a\0b", "\udcff", "..", "~", "*"])
def test_odd_references_are_only_unknown(tmp_path, reference):
    with pytest.raises(RunError, match=r"There is no run|The folder .* is not a run: it contains no run\.json"):
        open_run(reference, runs=tmp_path / "runs")


def test_a_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    folder = a_run(tmp_path, "r-1")
    for reference in ("~/r-1", Path("~/r-1")):
        assert open_run(reference).path == folder
        assert locate_path(reference) == folder
    with pytest.raises(RunError, match="There is no file or folder ~nobody-of-this-name/r-1"):
        open_run("~nobody-of-this-name/r-1")


def test_any_path_like_object_is_a_reference(tmp_path):
    class Entry:
        def __fspath__(self):
            return str(folder)

    folder = a_run(tmp_path, "r-1")
    assert open_run(Entry()).path == folder
    (scanned,) = os.scandir(tmp_path)
    assert open_run(scanned).path == folder


@pytest.mark.parametrize("reference", [None, 3, b"r-1", ["r-1"]])
def test_a_reference_of_another_type_is_refused(reference):
    with pytest.raises(RunError, match=f"A run cannot be opened by {type(reference).__name__}") as caught:
        open_run(reference)
    assert caught.value.hint == "Pass the path of its folder, its name or a tag."


def test_the_configuration_of_a_run_is_read(tmp_path):
    config = make_config("small", data="colours", epochs=2)
    write_json_record(tmp_path, {"config": config.to_dict()})
    run = open_run(tmp_path)
    assert load_config(run) == config
    assert load_config(run, epochs=9).epochs == 9


@pytest.mark.parametrize(
    "config", [{"backbone": "small"}, {"backbone": "b", "data": "d", "colour": 1}, {"backbone": "b", "data": 3}]
)
def test_an_invalid_configuration_is_named(tmp_path, config):
    write_json_record(tmp_path, {"config": config})
    with pytest.raises(RunError, match=r"'config' in run\.json is not readable"):
        load_config(open_run(tmp_path))


@pytest.mark.parametrize(
    ("reference", "message", "advice"),
    [
        ("model.onnx", "is a file, not a run folder", "zoo_export.load()"),
        (r"my\run", "There is no file or folder", "It has backslashes"),
        ("https://example.org/run", "There is no file or folder", "download it first"),
        ("x" * 3000, r"There is no run 'x{200}\.\.\.'", ""),
    ],
)
def test_the_advice_fits_what_was_passed(tmp_path, monkeypatch, reference, message, advice):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").touch()
    with pytest.raises(RunError, match=message) as caught:
        open_run(reference)
    assert advice in caught.value.hint


@pytest.mark.parametrize("value", [None, 3, b"runs", ["runs"]])
def test_a_reference_or_folder_of_another_type_is_refused(tmp_path, value):
    with pytest.raises(ZooError, match=f"of type? ?{type(value).__name__}|by {type(value).__name__}"):
        open_run(value)
    with pytest.raises(ConfigError, match=f"A path cannot be of type {type(value).__name__}"):
        open_run("run", runs=value)
    with pytest.raises(ConfigError, match=f"A path cannot be of type {type(value).__name__}"):
        list_runs(value)


def test_a_record_that_is_a_git_lfs_pointer_is_named(tmp_path):
    (tmp_path / RECORD).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 46\n")
    with pytest.raises(RunError, match="is a Git LFS pointer") as caught:
        open_run(tmp_path)
    assert "git lfs pull" in caught.value.hint


@pytest.mark.parametrize(
    ("plugins", "missing"),
    [
        ({"acme:nets": "1.0", "finetune-zoo:heads": "0.1"}, True),
        ({"acme:nets": ""}, True),
        ({"other:sets": "3", "acme:nets": "1.0"}, True),
        ({"heads:linear": "1"}, False),
        ({"finetune-zoo:torchvision": "0.1.0"}, False),
        ({"other:nets": "1.0"}, False),
        ({"acme; rm -rf ~:nets": "1.0"}, False),
        ({"acme:nets": "1.0\x1b[2J"}, False),
        ({}, False),
    ],
)
def test_a_missing_plugin_is_named_if_the_record_has_a_valid_name(tmp_path, registry, plugins, missing):
    write_json_record(tmp_path, {**VALID_FILES[RECORD], "plugins": plugins})
    run, config = open_run(tmp_path), make_config("acme/tiny", data="colours", head="fake/flat")
    with pytest.raises(UnknownNameError) as caught, explained_missing_plugin(run, registry):
        find_offers(config, registry)
    if missing:
        assert f"needs the backbone 'acme/tiny' of the plugin acme{' 1.0' * (plugins['acme:nets'] != '')}," in (
            caught.value.message
        )
        release = "==1.0" if plugins["acme:nets"] else ""
        assert caught.value.hint == f"If you trust the run, install the plugin: pip install acme{release}"
    else:
        assert caught.value.message == "There is no backbone 'acme/tiny'."
