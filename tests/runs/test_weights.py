from pathlib import Path

import pytest
import safetensors.torch
import torch
from fakes import SmallBackbone
from torch import nn

from zoo.errors import RunError
from zoo.runs.record import RunRecord
from zoo.runs.run import RunFolder
from zoo.runs.weights import load_weights, save_weights


def make_network(width=4):
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width))


def make_run(folder):
    return RunFolder(folder, RunRecord(backbone="fake/small", head="fake/flat"))


def test_saved_weights_are_loaded_unchanged(tmp_path):
    network, other = make_network(), make_network()
    network(torch.randn(5, 3))  # changes the statistics
    save_weights(tmp_path, network)
    load_weights(make_run(tmp_path), other)
    for name, tensor in network.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)


def test_channels_last_and_shared_weights_can_be_saved(tmp_path):
    network = SmallBackbone().to(memory_format=torch.channels_last)
    network.again = network.body["stem"]
    save_weights(tmp_path, network)
    saved = safetensors.torch.load_file(tmp_path / "model.safetensors")
    assert torch.equal(saved["again.0.weight"], network.body["stem"][0].weight)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.unlink(), r"has no model\.safetensors"),
        (lambda file: file.write_bytes(file.read_bytes()[:50]), "cannot be read"),
        (lambda file: file.write_bytes(b""), r"model\.safetensors is an empty file"),
        (lambda file: file.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"), "is a Git LFS pointer"),
        (
            lambda file: safetensors.torch.save_file({"a": torch.ones(1)}, file),
            "does not fit fake/small with fake/flat",
        ),
        (lambda file: save_weights(file.parent, make_network(5)), "does not fit fake/small with fake/flat"),
    ],
)
def test_weights_that_are_missing_damaged_or_of_another_network_are_an_error(tmp_path, damage, message):
    save_weights(tmp_path, make_network())
    damage(tmp_path / "model.safetensors")
    with pytest.raises(RunError, match=message) as caught:
        load_weights(make_run(tmp_path), make_network())
    assert caught.value.hint


def test_a_failed_save_keeps_the_previous_weights(tmp_path, monkeypatch):
    save_weights(tmp_path, make_network())
    before = (tmp_path / "model.safetensors").read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(RunError, match="No space left on device"):
        save_weights(tmp_path, make_network())
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]
