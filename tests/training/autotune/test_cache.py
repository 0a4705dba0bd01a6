import json

import pytest
import torch

from zoo.training.autotune import cache as verdicts
from zoo.training.autotune.cache import keep, machine_key, recall


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))


def test_what_is_kept_is_recalled_by_its_key_alone():
    assert recall("one") is None
    keep("one", {"precision": "bf16"})
    keep("two", {"precision": "fp32"})
    assert recall("one") == {"precision": "bf16"}
    assert recall("two") == {"precision": "fp32"}
    assert recall("three") is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"one": 1}', '{"one": {"precision": null}}', "\xff"])
def test_a_broken_file_is_as_good_as_none_and_is_mended(content):
    keep("zero", {"precision": "fp32"})
    file = verdicts.home() / "measured.json"
    file.write_text(content, encoding="latin-1")
    assert recall("one") is None
    keep("one", {"precision": "bf16"})
    assert recall("one") == {"precision": "bf16"}
    json.loads(file.read_text(encoding="utf-8"))


def test_a_folder_that_cannot_be_written_to_costs_a_measurement_and_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "file"))
    keep("one", {"precision": "bf16"})
    assert recall("one") is None


def test_the_machine_is_known_by_its_model_its_threads_and_torch():
    key = machine_key(torch.device("cpu"))
    assert torch.__version__ in key
    assert f"{torch.get_num_threads()} threads" in key
    assert torch.backends.cpu.get_cpu_capability() in key


def test_a_machine_that_does_not_tell_its_model_has_a_key_too(tmp_path, monkeypatch):
    monkeypatch.setattr(verdicts, "_CPU", tmp_path / "none")
    assert machine_key(torch.device("cpu")).strip()


def test_a_gpu_is_known_by_its_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    assert machine_key(torch.device("cuda", 0)) == f"NVIDIA H200, torch {torch.__version__}"
