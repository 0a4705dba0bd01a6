"""The origin of a file, as its card records it."""

from pathlib import Path

import pytest

from zoo.runs.record import DataRecord, RunRecord
from zoo.runs.run import RunFolder
from zoo_export.targets.provenance import _describe_data, _describe_weights


def make_run(**values):
    return RunFolder(Path("r"), RunRecord(**values))


@pytest.mark.parametrize("named", ["sub/my weights.pth", "{folder}/sub/my weights.pth"])
def test_card_names_a_weights_file_without_its_folder(tmp_path, monkeypatch, named):
    monkeypatch.chdir(tmp_path)
    named = named.format(folder=tmp_path)
    line = f"120 entries loaded from {named}; skipped: fc.bias"
    run = make_run(weights=line, config={"weights": named})
    assert _describe_weights(run) == "120 entries loaded from my weights.pth; skipped: fc.bias"


@pytest.mark.parametrize("record", [{}, {"weights": "random", "config": {"weights": "none"}}, {"weights": "random"}])
def test_weights_that_are_no_file_keep_their_description(record):
    assert _describe_weights(make_run(**record)) == record.get("weights", "")


def test_card_lists_test_photos_that_were_trained_on():
    data = {"name": "photos", "fingerprint": "ab"}
    assert _describe_data(make_run(data=DataRecord(**data))) == data
    findings = [
        {"kind": "leak", "text": "3 of 20 test photos are in train as well."},
        {"kind": "extension", "text": ""},
    ]
    described = _describe_data(make_run(data=DataRecord(**data, check={"findings": findings})))
    assert described == {**data, "leaks": ["3 of 20 test photos are in train as well."]}
