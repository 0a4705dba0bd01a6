import random
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from fakes import SmallBackbone
from torch import nn

from zoo.errors import RunError
from zoo.runs.record import RunRecord
from zoo.runs.run import Run
from zoo.runs.weights import load_weights, save_weights
from zoo.training.checkpoint import Learner, describe_checkpoint, load_checkpoint, save_checkpoint
from zoo.training.ema import WeightAverage
from zoo.training.random_state import set_random_states
from zoo.training.state import Meter, TrainState
from zoo.utils import files as writing

CPU = torch.device("cpu")


def a_network(width=4):
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width))


def trained(network, optimizer, steps=2):
    for _ in range(steps):
        optimizer.zero_grad()
        network(torch.randn(5, 3)).square().sum().backward()
        optimizer.step()


def as_run(folder):
    return Run(folder, RunRecord(backbone="fake/small", head="fake/flat"))


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


def a_learner(width=4, *, averaged=False, scaled=False):
    network = a_network(width)
    return Learner(
        network=network,
        optimizer=torch.optim.AdamW(network.parameters(), lr=0.1),
        state=TrainState(scaler=torch.amp.GradScaler("cpu", enabled=scaled)),
        average=WeightAverage(network, decay=0.5) if averaged else None,
    )


def step(learner):
    learner.optimizer.zero_grad()
    loss = learner.network(torch.randn(5, 3)).square().mean() * random.random() * np.random.rand()
    learner.state.scaler.scale(loss).backward()
    learner.state.scaler.step(learner.optimizer)
    learner.state.scaler.update()
    if learner.average is not None:
        learner.average.update_parameters(learner.network)
    learner.state.meter = learner.state.meter or Meter(CPU)
    learner.state.meter.add(loss, torch.eye(5), torch.tensor([0, 1, 2, 0, 0]))
    learner.state.step += 1


def values_of(learner):
    """Returns all tensors of a learner, and the sums of its meter."""
    modules = [learner.network] if learner.average is None else [learner.network, learner.average]
    found = [tensor for module in modules for tensor in module.state_dict().values()]
    found += [value for state in learner.optimizer.state.values() for value in state.values()]
    return [*found, torch.tensor(learner.state.meter.read()), torch.tensor(learner.state.scaler.get_scale())]


ABOUT = {"config": {"lr": 0.1}, "seconds": 3.5, "machine": {"micro_batch_size": 8}}


@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_everything_comes_back_as_it_was_between_two_steps(tmp_path, averaged, scaled):
    learner = a_learner(averaged=averaged, scaled=scaled)
    learner.state.epoch, learner.state.best_accuracy, learner.state.best_loss = 2, 0.5, 0.7
    for _ in range(3):
        step(learner)
    save_checkpoint(tmp_path, learner, about=ABOUT, device=CPU)
    about = describe_checkpoint(tmp_path)
    assert about == {**ABOUT, "epoch": 2, "step": 3, "best_accuracy": 0.5, "best_loss": 0.7}
    step(learner)

    again = a_learner(averaged=averaged, scaled=scaled)
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(5)
    states = load_checkpoint(tmp_path, again, device=CPU)
    assert (again.state.epoch, again.state.step, again.state.meter.images) == (2, 3, 15)
    set_random_states(states, CPU)
    step(again)
    assert (again.state.best_accuracy, again.state.best_loss) == (0.5, 0.7)
    for ours, theirs in zip(values_of(again), values_of(learner), strict=True):
        assert torch.equal(ours, theirs)


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name_and_so_are_the_weights_it_knows_of(tmp_path, monkeypatch):
    done = []
    save_weights(tmp_path, a_network())
    monkeypatch.setattr(writing, "_fsync", lambda path: done.append(path.name))
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda path, to: done.append(f"rename to {to.name}") or replace(path, to))
    learner = a_learner()
    step(learner)
    save_checkpoint(tmp_path, learner, about=ABOUT, device=CPU)
    aside = next(name for name in done if name.startswith(".checkpoint.pt."))
    folder = tmp_path.name
    assert done == ["model.safetensors", folder, aside, folder, "rename to checkpoint.pt", folder]


def test_a_checkpoint_that_is_missing_or_broken_is_told(tmp_path):
    with pytest.raises(RunError, match=r"has no checkpoint\.pt"):
        load_checkpoint(tmp_path, a_learner(), device=CPU)
    for content in (b"", b"PK\x03\x04 broken", b"\x80\x04K\x01."):
        (tmp_path / "checkpoint.pt").write_bytes(content)
        with pytest.raises(RunError, match=r"checkpoint\.pt cannot be read|does not fit"):
            load_checkpoint(tmp_path, a_learner(), device=CPU)
        with pytest.raises(RunError, match=r"checkpoint\.pt cannot be read"):
            describe_checkpoint(tmp_path)


def test_a_checkpoint_of_another_network_is_told(tmp_path):
    save_checkpoint(tmp_path, a_learner(5), about=ABOUT, device=CPU)
    with pytest.raises(RunError, match=r"does not fit what 'run\.json' describes"):
        load_checkpoint(tmp_path, a_learner(), device=CPU)


def test_an_unpickled_checkpoint_runs_no_code(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"about": Hostile()}, tmp_path / "checkpoint.pt")
    for read in (describe_checkpoint, lambda folder: load_checkpoint(folder, a_learner(), device=CPU)):
        with pytest.raises(RunError, match="cannot be read"):
            read(tmp_path)
    assert not (tmp_path / "ran").exists()
