"""What a file says of where it comes from."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from zoo.runs.run import Run
from zoo_export.provenance import _data, _started_from


@pytest.mark.parametrize("named", ["sub/my weights.pth", "{folder}/sub/my weights.pth"])
def test_the_name_of_a_file_of_weights_is_told_but_not_its_folder(tmp_path, monkeypatch, named):
    monkeypatch.chdir(tmp_path)
    named = named.format(folder=tmp_path)
    told = f"120 entries loaded from {named}; skipped: fc.bias"
    run = SimpleNamespace(record={"weights": told, "config": {"weights": named}})
    assert _started_from(run) == "120 entries loaded from my weights.pth; skipped: fc.bias"


@pytest.mark.parametrize("record", [{}, {"weights": "random", "config": {"weights": "none"}}, {"weights": "random"}])
def test_what_is_no_file_stays(record):
    assert _started_from(SimpleNamespace(record=record)) == record.get("weights", "")


def test_photos_of_the_test_that_were_trained_on_are_told():
    data = {"name": "photos", "fingerprint": "ab"}
    assert _data(Run(Path("r"), {"data": data})) == data
    findings = [
        {"kind": "leak", "text": "3 of 20 test photos are in train as well."},
        {"kind": "extension", "text": ""},
    ]
    told = _data(Run(Path("r"), {"data": {**data, "check": {"findings": findings}}}))
    assert told == {**data, "leaks": ["3 of 20 test photos are in train as well."]}
