from pathlib import Path

import pytest
import safetensors.torch
import torch
from fakes import SmallBackbone
from torch import nn

from zoo.engine.fit import TrainState
from zoo.errors import RunError
from zoo.finetuning.checkpoint import load_checkpoint, load_weights, save_checkpoint, save_weights
from zoo.run import Run

CPU = torch.device("cpu")


def a_network(width=4):
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width))


def trained(network, optimizer, steps=2):
    for _ in range(steps):
        optimizer.zero_grad()
        network(torch.randn(5, 3)).square().sum().backward()
        optimizer.step()


def as_run(folder):
    return Run(folder, {"backbone": "fake/small", "head": "fake/flat"})


def test_weights_come_back_as_they_were(tmp_path):
    network, other = a_network(), a_network()
    trained(network, torch.optim.SGD(network.parameters(), lr=0.1))
    save_weights(tmp_path, network)
    load_weights(as_run(tmp_path), other)
    for name, tensor in network.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)


def test_channels_last_and_shared_weights_can_be_saved(tmp_path):
    network = SmallBackbone().to(memory_format=torch.channels_last)
    network.again = network.body["stem"]
    save_weights(tmp_path, network)
    saved = safetensors.torch.load_file(tmp_path / "model.safetensors")
    assert torch.equal(saved["again.0.weight"], network.body["stem"][0].weight)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda file: file.unlink(), r"has no model\.safetensors"),
        (lambda file: file.write_bytes(file.read_bytes()[:50]), "cannot be read"),
        (lambda file: file.write_bytes(b""), "cannot be read"),
        (
            lambda file: safetensors.torch.save_file({"a": torch.ones(1)}, file),
            "does not fit fake/small with fake/flat",
        ),
        (lambda file: save_weights(file.parent, a_network(5)), "does not fit fake/small with fake/flat"),
    ],
)
def test_weights_that_are_missing_broken_or_of_another_network_are_told(tmp_path, spoil, message):
    save_weights(tmp_path, a_network())
    spoil(tmp_path / "model.safetensors")
    with pytest.raises(RunError, match=message) as caught:
        load_weights(as_run(tmp_path), a_network())
    assert caught.value.hint


def test_a_failed_save_leaves_the_weights_from_before(tmp_path, monkeypatch):
    save_weights(tmp_path, a_network())
    before = (tmp_path / "model.safetensors").read_bytes()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(RunError, match="No space left on device"):
        save_weights(tmp_path, a_network())
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize("averaged", [False, True])
def test_everything_comes_back_to_the_end_of_the_epoch(tmp_path, averaged):
    def made():
        network = a_network()
        average = torch.optim.swa_utils.AveragedModel(network) if averaged else None
        return network, torch.optim.AdamW(network.parameters(), lr=0.1), average

    network, optimizer, average = made()
    trained(network, optimizer)
    if average is not None:
        average.update_parameters(network)
    state = TrainState(epoch=2, best_accuracy=0.5, best_loss=0.7)
    save_checkpoint(tmp_path, classifier=network, optimizer=optimizer, state=state, average=average, device=CPU)
    trained(network, optimizer)  # draws random numbers, too

    again, its_optimizer, its_average = made()
    torch.manual_seed(5)
    loaded = load_checkpoint(tmp_path, classifier=again, optimizer=its_optimizer, average=its_average, device=CPU)
    assert loaded == state
    trained(again, its_optimizer)
    for name, tensor in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
    if average is not None:
        assert its_average.n_averaged == average.n_averaged == 1


def test_a_checkpoint_that_is_missing_or_broken_is_told(tmp_path):
    network = a_network()
    how = {"classifier": network, "optimizer": torch.optim.SGD(network.parameters()), "average": None, "device": CPU}
    with pytest.raises(RunError, match=r"has no checkpoint\.pt"):
        load_checkpoint(tmp_path, **how)
    for content in (b"", b"PK\x03\x04 broken", b"\x80\x04K\x01."):
        (tmp_path / "checkpoint.pt").write_bytes(content)
        with pytest.raises(RunError, match=r"checkpoint\.pt cannot be read|does not fit"):
            load_checkpoint(tmp_path, **how)


def test_a_checkpoint_of_another_network_is_told(tmp_path):
    theirs, ours = a_network(5), a_network()
    save_checkpoint(
        tmp_path,
        classifier=theirs,
        optimizer=torch.optim.SGD(theirs.parameters()),
        state=TrainState(),
        average=None,
        device=CPU,
    )
    with pytest.raises(RunError, match=r"does not fit what 'run\.json' describes"):
        load_checkpoint(
            tmp_path, classifier=ours, optimizer=torch.optim.SGD(ours.parameters()), average=None, device=CPU
        )
