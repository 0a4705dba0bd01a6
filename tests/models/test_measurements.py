import json

import pytest
import torch

from zoo.models import measurements
from zoo.models.measurements import machine_key, read_cached, write_cached


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))


def test_measurements_are_stored_by_key():
    assert read_cached("one") is None
    write_cached("one", {"precision": "bf16"})
    write_cached("two", {"precision": "fp32"})
    assert read_cached("one") == {"precision": "bf16"}
    assert read_cached("two") == {"precision": "fp32"}
    assert read_cached("three") is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"one": 1}', '{"one": {"precision": null}}', "\xff"])
def test_a_damaged_file_is_replaced(content):
    write_cached("zero", {"precision": "fp32"})
    file = measurements.home() / "measured.json"
    file.write_text(content, encoding="latin-1")
    assert read_cached("one") is None
    write_cached("one", {"precision": "bf16"})
    assert read_cached("one") == {"precision": "bf16"}
    json.loads(file.read_text(encoding="utf-8"))


def test_a_folder_that_is_not_writable_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "file"))
    write_cached("one", {"precision": "bf16"})
    assert read_cached("one") is None


def test_the_key_names_model_threads_and_torch():
    key = machine_key(torch.device("cpu"))
    assert torch.__version__ in key
    assert f"{torch.get_num_threads()} threads" in key
    assert torch.backends.cpu.get_cpu_capability() in key


def test_a_machine_of_unknown_model_has_a_key_too(tmp_path, monkeypatch):
    monkeypatch.setattr(measurements, "_CPU", tmp_path / "none")
    assert machine_key(torch.device("cpu")).strip()


def test_the_key_of_a_gpu_has_its_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    assert machine_key(torch.device("cuda", 0)) == f"NVIDIA H200, torch {torch.__version__}"
