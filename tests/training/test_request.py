import pytest
from run_files import write_json_record

from zoo.config import make_config
from zoo.errors import RunError, WeightsError
from zoo.runs.run import Run
from zoo.training.request import find_weights


def small_config(**values):
    return make_config("small", data="colours", head="flat", **values)


def test_weights_are_a_file_or_a_run_or_none(tmp_path):
    assert find_weights(small_config(weights="pretrained"), runs=tmp_path) is None
    assert find_weights(small_config(weights="none"), runs=tmp_path) is None
    file = tmp_path / "w.safetensors"
    file.touch()
    assert find_weights(small_config(weights=str(file)), runs=tmp_path) == file
    (tmp_path / "run-1").mkdir()
    write_json_record(tmp_path / "run-1", {"classes": []})
    found = find_weights(small_config(weights="run-1"), runs=tmp_path)
    assert isinstance(found, Run)
    assert found.path == tmp_path / "run-1"


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(WeightsError, match=r"There is no weights file .*gone\.pth") as caught:
        find_weights(small_config(weights="gone.pth"), runs=tmp_path)
    assert "--weights" in caught.value.hint
    with pytest.raises(RunError, match="There is no run 'run-7'"):
        find_weights(small_config(weights="run-7"), runs=tmp_path)
