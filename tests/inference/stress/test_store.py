import json

import numpy as np
import pytest

from zoo.errors import RunError
from zoo.inference.stress.store import MISSING, SETTINGS, Answers, find_folder, open_folder

ONE = {"model": "aa", "seed": 0}


def answers(*rows):
    predicted = np.array(rows, np.int32)
    return Answers(predicted=predicted, confidence=np.full(predicted.shape, 0.5, np.float32))


def test_answers_are_read_as_they_were_written(tmp_path):
    folder = open_folder(tmp_path / "one", ONE)
    assert len(folder.read("noise", strengths=2)) == 0
    folder.write("noise", answers([1, 2], [0, MISSING]))
    again = open_folder(tmp_path / "one", ONE).read("noise", strengths=2)
    assert again.predicted.tolist() == [[1, 2], [0, MISSING]]
    assert (again.predicted.dtype, again.confidence.tolist()) == (np.int32, [[0.5, 0.5], [0.5, 0.5]])
    assert again.first(1).extend(answers([2, 2])).predicted.tolist() == [[1, 2], [2, 2]]


def test_the_folder_of_the_same_settings_is_found_again(tmp_path):
    first = find_folder(tmp_path, "stress-run", ONE)
    assert first.path.name == "stress-run-1"
    assert find_folder(tmp_path, "stress-run", {**ONE, "seed": 1}).path.name == "stress-run-2"
    assert find_folder(tmp_path, "stress-run", ONE).path == first.path
    (tmp_path / "stress-run-3").mkdir()  # something else
    assert find_folder(tmp_path, "stress-run", {**ONE, "seed": 2}).path.name == "stress-run-4"


def test_a_folder_of_other_settings_is_refused(tmp_path):
    open_folder(tmp_path / "one", ONE)
    with pytest.raises(RunError, match="has the results of a test with another seed") as caught:
        open_folder(tmp_path / "one", {**ONE, "seed": 1})
    assert "--output" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, content):
    folder = open_folder(tmp_path / "one", ONE)
    (folder.path / "answers" / "fog.npz").write_bytes(content)
    with pytest.raises(RunError, match=r"fog\.npz cannot be read") as caught:
        folder.read("fog", strengths=5)
    assert "Delete it" in caught.value.hint


def test_answers_of_another_shape_are_an_error(tmp_path):
    folder = open_folder(tmp_path / "one", ONE)
    folder.write("fog", answers([1, 2]))
    with pytest.raises(RunError, match=r"not \(photos, 5\)"):
        folder.read("fog", strengths=5)


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({"model": "bb"})])
def test_settings_that_are_damaged_or_different_are_an_error(tmp_path, content):
    open_folder(tmp_path / "one", ONE)
    (tmp_path / "one" / SETTINGS).write_text(content, "utf-8")
    with pytest.raises(RunError):
        open_folder(tmp_path / "one", ONE)
