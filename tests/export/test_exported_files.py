"""Exported files are found, written and listed in the manifest of their folder."""

import time

import pytest
from onnx_files import make_run_card, write_model

from zoo.errors import ExportError, RunError
from zoo.runs.manifest import check_folder, read_manifest
from zoo_export.exported_files import add_to_manifest, find_file, write_exported


def test_file_of_a_run_is_found(runs, tmp_path):
    assert find_file("r-1", runs=runs) == runs / "r-1" / "model.onnx"
    assert find_file(runs / "r-1" / "run.json") == runs / "r-1" / "run.json"
    with pytest.raises(ExportError, match=r"There is no file nowhere\.onnx"):
        find_file("nowhere.onnx")
    with pytest.raises(RunError, match="There is no file or folder 'nowhere', and no run"):
        find_file("nowhere")
    (runs / "r-1" / "model.onnx").unlink()
    with pytest.raises(ExportError, match=r"has no model\.onnx") as caught:
        find_file("r-1", runs=runs)
    assert "zoo export" in caught.value.hint
    with pytest.raises(ExportError, match=r"has no model\.onnx"):
        find_file(tmp_path)


def test_written_file_is_listed_in_the_manifest_of_its_run(runs):
    target = runs / "r-1" / "other.onnx"
    exported = write_exported(target, b"content", make_run_card(), started=time.monotonic())
    assert (exported.path, exported.bytes, target.read_bytes()) == (target, 7, b"content")
    assert "other.onnx" in read_manifest(runs / "r-1")
    assert check_folder(runs / "r-1") == []


def test_folder_without_a_manifest_gets_none(tmp_path):
    (tmp_path / "file").touch()
    add_to_manifest(tmp_path / "file")
    assert not (tmp_path / "manifest.json").exists()


def test_manifest_of_another_program_is_left_alone(runs, tmp_path):
    """Web pages have a file of that name, too."""
    foreign, file = tmp_path / "web" / "manifest.json", tmp_path / "web" / "model.onnx"
    foreign.parent.mkdir()
    foreign.write_text('{"name": "A page"}')
    write_model(file, make_run_card())
    add_to_manifest(file)
    assert foreign.read_text() == '{"name": "A page"}'
    (runs / "r-1" / "manifest.json").write_text('{"name": "A page"}')
    with pytest.raises(RunError, match="manifest of format 1"):
        add_to_manifest(runs / "r-1" / "model.onnx")
