"""Runs and files against their manifest, tag and weights."""

import dataclasses
import json
import shutil
import zipfile

import pytest
from onnx_files import make_run_card, write_model

from zoo.errors import ExportError, IntegrityError, RunError
from zoo.runs.manifest import update_manifest, write_manifest
from zoo.runs.open import open_run
from zoo.runs.tags import tag_run
from zoo_export.exported_files import add_to_manifest
from zoo_export.model_card import KEY
from zoo_export.verification import VerificationResult, verify


def outcomes(results):
    return [(result.about, result.ok) for result in results]


def failures(results):
    return {result.about: result.files for result in results if not result.ok}


def test_exported_run_is_unchanged(runs):
    results = verify("r-1", runs=runs)
    assert outcomes(results) == [("manifest", True), ("weights", True)]
    assert results[0].text == "all 3 files are unchanged"
    assert outcomes(verify(runs / "r-1" / "model.onnx", runs=runs)) == [("manifest", True), ("weights", True)]


@pytest.mark.parametrize("name", ["run.json", "model.safetensors", "model.onnx"])
def test_modified_byte_is_reported(runs, flip_last_bit, name):
    flip_last_bit(runs / "r-1" / name)
    if name == "run.json":
        (runs / "r-1" / name).write_text((runs / "r-1" / name).read_text()[:-1] + " ")
    assert failures(verify("r-1", runs=runs))["manifest"] == ((name, "changed"),)


def test_modified_file_is_reported_on_its_own(runs):
    file = runs / "r-1" / "model.onnx"
    write_model(file, make_run_card(classes=("green", "red", "blue")))
    assert failures(verify(file, runs=runs)) == {"manifest": (("model.onnx", "changed"),)}


def test_file_exported_from_other_weights_is_reported(runs):
    file = runs / "r-1" / "model.onnx"
    write_model(file, make_run_card(weights_sha256="0" * 64))
    update_manifest(file.parent, ["model.onnx"])
    (result,) = [result for result in verify("r-1", runs=runs) if not result.ok]
    assert result.about == "weights"
    assert result.text.startswith("model.onnx was not exported from")


def test_file_in_another_folder_is_compared_with_the_run_that_it_names(runs, flip_last_bit, tmp_path):
    file = tmp_path / "elsewhere.onnx"
    shutil.copy(runs / "r-1" / "model.onnx", file)
    assert outcomes(verify(file, runs=runs)) == [("weights", True)]
    flip_last_bit(runs / "r-1" / "model.safetensors")
    assert list(failures(verify(file, runs=runs))) == ["weights"]


@pytest.mark.parametrize("run", [{"name": "r-9"}, {"name": "../runs/r-1"}, {"name": "r-1", "created": "later"}, {}])
def test_file_with_nothing_to_compare_with_is_an_error(runs, tmp_path, run):
    write_model(tmp_path / "alone.onnx", make_run_card(run=run))
    with pytest.raises(IntegrityError, match="nothing to compare"):
        verify(tmp_path / "alone.onnx", runs=runs)


def test_tag_records_the_weights(runs):
    tag_run(open_run("r-1", runs=runs), "hotdog@3", runs=runs)
    assert outcomes(verify("hotdog@3", runs=runs))[-1] == ("tag", True)
    (runs / "r-1" / "model.safetensors").write_bytes(b"other weights")
    write_manifest(runs / "r-1")  # a manifest can be rewritten; the tag keeps the hash
    assert set(failures(verify("hotdog@3", runs=runs))) == {"tag", "weights"}


def test_run_without_a_manifest_is_an_error(runs):
    (runs / "r-1" / "manifest.json").unlink()
    with pytest.raises(RunError, match=r"has no manifest\.json"):
        verify("r-1", runs=runs)


def test_file_of_another_tool_is_an_error(runs, tmp_path):
    write_model(tmp_path / "foreign.onnx", None)
    with pytest.raises(ExportError, match="has no model card"):
        verify(tmp_path / "foreign.onnx", runs=runs)


def test_result_is_plain_values():
    result = VerificationResult(about="manifest", ok=False, text="1 file", files=(("a", "changed"),))
    assert json.loads(json.dumps(result.to_dict()))["files"] == [{"file": "a", "state": "changed"}]


def write_archive(path, card):
    """Writes what `inspect_file` reads in an archive of torch.export."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"model/extra/{KEY}", card.to_json())


def test_archive_is_compared_with_the_weights_it_was_exported_from(runs, tmp_path):
    card = make_run_card(input="tensor", opset=0)
    for file in (runs / "r-1" / "model.pt2", tmp_path / "elsewhere.pt2"):
        write_archive(file, card)
    add_to_manifest(runs / "r-1" / "model.pt2")
    texts = [result.text for result in verify("r-1", runs=runs)]
    assert f"model.pt2 was exported from {runs / 'r-1' / 'model.safetensors'}" in texts
    assert outcomes(verify(tmp_path / "elsewhere.pt2", runs=runs)) == [("weights", True)]
    write_archive(tmp_path / "elsewhere.pt2", dataclasses.replace(card, weights_sha256="0" * 64))
    assert outcomes(verify(tmp_path / "elsewhere.pt2", runs=runs)) == [("weights", False)]


def test_manifest_of_another_program_is_ignored(runs, tmp_path):
    """Web pages have a file of that name, too."""
    foreign, file = tmp_path / "web" / "manifest.json", tmp_path / "web" / "model.onnx"
    foreign.parent.mkdir()
    foreign.write_text('{"name": "A page"}')
    write_model(file, make_run_card())
    assert outcomes(verify(file, runs=runs)) == [("weights", True)]
    (runs / "r-1" / "manifest.json").write_text('{"name": "A page"}')
    with pytest.raises(RunError, match="manifest of format 1"):
        verify(runs / "r-1" / "model.onnx", runs=runs)
