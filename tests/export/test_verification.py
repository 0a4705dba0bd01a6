"""Runs and files against their manifest, tag and weights."""

import dataclasses
import hashlib
import json
import os
import shutil
import statistics
import time
import zipfile
from contextlib import suppress
from functools import partial

import pytest
from onnx_files import make_run_card, write_model

from zoo.errors import ExportError, IntegrityError, RunError
from zoo.runs.manage import rename_run
from zoo.runs.manifest import update_manifest, write_manifest
from zoo.runs.open import open_run
from zoo.runs.tags import tag_run
from zoo_export.exported_files import add_to_manifest
from zoo_export.inspection import inspect_file
from zoo_export.model_card import KEY
from zoo_export.runtime.predictor import load
from zoo_export.security.digest import check_digest, read_digests, with_digest
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
    copied, weights = verify(file, runs=runs)
    assert (copied.about, copied.ok, copied.text) == (
        "manifest",
        True,
        f"elsewhere.onnx is a copy of {runs / 'r-1' / 'model.onnx'}",
    )
    assert (weights.about, weights.ok) == ("weights", True)
    flip_last_bit(runs / "r-1" / "model.safetensors")
    assert list(failures(verify(file, runs=runs))) == ["weights"]


def test_the_run_of_a_file_is_found_after_it_was_renamed(runs, tmp_path):
    shutil.copy(runs / "r-1" / "model.onnx", tmp_path / "elsewhere.onnx")
    renamed = rename_run(open_run("r-1", runs=runs), "best")
    results = verify(tmp_path / "elsewhere.onnx", runs=runs)
    assert all(result.ok for result in results)
    assert f"elsewhere.onnx was exported from {renamed.weights_path}" in [result.text for result in results]


def test_a_file_without_a_digest_is_compared_with_the_one_of_its_name_in_the_run(runs, tmp_path):
    write_model(tmp_path / "model.onnx", make_run_card(classes=("green", "red", "blue")))
    assert failures(verify(tmp_path / "model.onnx", runs=runs)) == {"manifest": (("model.onnx", "changed"),)}


def seal(file, **changes):
    """Writes an exported file as `zoo export` does, with its digest."""
    write_model(file, make_run_card(has_digest=True, **changes))
    file.write_bytes(with_digest(file.read_bytes()))


def test_a_file_that_was_exported_to_another_folder_is_in_no_manifest(runs, tmp_path):
    seal(tmp_path / "model.onnx", classes=("green", "red", "blue"))
    assert outcomes(verify(tmp_path / "model.onnx", runs=runs)) == [("digest", True), ("weights", True)]


def test_every_changed_byte_of_a_file_is_found_by_whatever_reads_it(runs, tmp_path):
    file = tmp_path / "carried.onnx"
    seal(file)
    content = file.read_bytes()
    assert load(file, device="cpu").classes == inspect_file(file).card.classes
    for position in {*range(0, len(content), 97), *range(len(content) - 90, len(content))}:
        changed = bytearray(content)
        changed[position] ^= 1
        file.write_bytes(changed)
        for read in (partial(load, device="cpu"), inspect_file):
            with pytest.raises((IntegrityError, ExportError), match="carried"):
                read(file)
        with suppress(ExportError, IntegrityError):
            assert not all(result.ok for result in verify(file, runs=runs))


def test_a_missing_digest_is_an_error_if_the_card_names_one(runs, tmp_path):
    file = tmp_path / "carried.onnx"
    write_model(file, make_run_card(has_digest=True))
    for read in (partial(load, device="cpu"), inspect_file):
        with pytest.raises(IntegrityError, match="is not what 'zoo export' wrote"):
            read(file)
    assert failures(verify(file, runs=runs)).keys() == {"digest"}


def test_a_changed_file_in_a_run_folder_is_refused(runs):
    """Even one that is complete in itself: it may be that of another run."""
    file = runs / "r-1" / "model.onnx"
    seal(file)
    for read in (partial(load, device="cpu"), inspect_file):
        with pytest.raises(IntegrityError, match=r"its SHA-256 is not that of manifest\.json"):
            read(file)


def test_the_digest_costs_little_more_than_hashing_the_file(tmp_path):
    content = with_digest(os.urandom(32 << 20))

    def seconds(function):
        started = time.process_time()
        function(content)
        return time.process_time() - started

    def check(content):
        check_digest(read_digests(content), name="m")

    pairs = [(seconds(hashlib.sha256), seconds(check)) for _ in range(5)]
    plain, checked = (statistics.median(column) for column in zip(*pairs, strict=True))
    assert checked <= 1.5 * plain


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
    write_archive(runs / "r-1" / "model.pt2", card)
    shutil.copy(runs / "r-1" / "model.pt2", tmp_path / "elsewhere.pt2")
    add_to_manifest(runs / "r-1" / "model.pt2")
    texts = [result.text for result in verify("r-1", runs=runs)]
    assert f"model.pt2 was exported from {runs / 'r-1' / 'model.safetensors'}" in texts
    assert outcomes(verify(tmp_path / "elsewhere.pt2", runs=runs)) == [("manifest", True), ("weights", True)]
    write_archive(tmp_path / "elsewhere.pt2", dataclasses.replace(card, weights_sha256="0" * 64))
    assert outcomes(verify(tmp_path / "elsewhere.pt2", runs=runs)) == [("weights", False)]


def test_manifest_of_another_program_is_ignored(runs, tmp_path):
    """Web pages have a file of that name, too."""
    foreign, file = tmp_path / "web" / "manifest.json", tmp_path / "web" / "model.onnx"
    foreign.parent.mkdir()
    foreign.write_text('{"name": "A page"}')
    write_model(file, make_run_card())
    assert outcomes(verify(file, runs=runs)) == [("manifest", True), ("weights", True)]  # a copy of the run's
    (runs / "r-1" / "manifest.json").write_text('{"name": "A page"}')
    with pytest.raises(RunError, match="manifest of format 1"):
        verify(runs / "r-1" / "model.onnx", runs=runs)
