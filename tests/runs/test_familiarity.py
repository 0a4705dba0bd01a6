import json

import numpy as np
import pytest
import safetensors.numpy

from zoo.errors import RunError
from zoo.runs.familiarity import PROTOTYPES, FamiliarityRecord, read_prototypes, write_prototypes
from zoo.runs.record import RunRecord, read_record, write_record

RECORD = FamiliarityRecord(threshold=0.5, share=0.95, photos=30, prototypes=4, width=6, neighbours=3)


@pytest.fixture
def prototypes(tmp_path):
    values = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float16)
    write_prototypes(tmp_path, values)
    return values


def test_what_is_written_is_read(tmp_path, prototypes):
    np.testing.assert_array_equal(read_prototypes(tmp_path, RECORD), prototypes)
    write_record(tmp_path, RunRecord(familiarity=RECORD))
    assert read_record(tmp_path).familiarity == RECORD


def test_records_without_familiarity_are_read(tmp_path):
    write_record(tmp_path, RunRecord())
    assert "familiarity" not in json.loads((tmp_path / "run.json").read_text())
    assert read_record(tmp_path).familiarity is None


@pytest.mark.parametrize(
    "change", [{"threshold": "0.5"}, {"threshold": 7}, {"photos": 0}, {"width": 1.5}, {"share": 1}]
)
def test_an_unreadable_record_is_an_error(change):
    values = {"familiarity": {**RunRecord(familiarity=RECORD).to_json()["familiarity"], **change}}
    with pytest.raises(RunError, match="has an unreadable 'familiarity'"):
        RunRecord.from_json(values, where="run.json")
    assert RunRecord.from_json(values, where="run.json", strict=False).familiarity is None


@pytest.mark.parametrize(
    "content",
    [
        b"nothing",
        safetensors.numpy.save({"other": np.zeros((4, 6), np.float16)}),
        safetensors.numpy.save({"prototypes": np.zeros((4, 5), np.float16)}),
        safetensors.numpy.save({"prototypes": np.zeros((4, 6), np.float32)}),
        safetensors.numpy.save({"prototypes": np.full((4, 6), np.nan, np.float16)}),
    ],
    ids=["no tensors", "another tensor", "shape", "type", "NaN"],
)
def test_a_broken_file_is_an_error_that_names_it(tmp_path, content):
    (tmp_path / PROTOTYPES).write_bytes(content)
    with pytest.raises(RunError, match=r"familiarity\.safetensors"):
        read_prototypes(tmp_path, RECORD)


def test_a_missing_file_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(RunError, match=r"familiarity\.safetensors cannot be read") as caught:
        read_prototypes(tmp_path, RECORD)
    assert "train the run again" in caught.value.hint
