import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from zoo.errors import RunError
from zoo.models.random_state import set_random_states
from zoo.runs.weights import save_weights
from zoo.training.checkpoint import Learner, describe_checkpoint, load_checkpoint, save_checkpoint
from zoo.training.ema import WeightAverage
from zoo.training.state import Meter, TrainState
from zoo.utils import files

CPU = torch.device("cpu")
METADATA = {"config": {"lr": 0.1}, "seconds": 3.5, "machine": {"micro_batch_size": 8}}


def make_network(width=4):
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width))


def make_learner(width=4, *, average=False, scale_loss=False):
    network = make_network(width)
    return Learner(
        network=network,
        optimizer=torch.optim.AdamW(network.parameters(), lr=0.1),
        state=TrainState(scaler=torch.amp.GradScaler("cpu", enabled=scale_loss)),
        average=WeightAverage(network, decay=0.5) if average else None,
    )


def take_step(learner):
    """Takes a step that depends on all random generators."""
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
    values = [tensor for module in modules for tensor in module.state_dict().values()]
    values += [value for state in learner.optimizer.state.values() for value in state.values()]
    return [*values, torch.tensor(learner.state.meter.read()), torch.tensor(learner.state.scaler.get_scale())]


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("scale_loss", [False, True])
def test_a_restored_learner_continues_as_the_saved_one(tmp_path, average, scale_loss):
    learner = make_learner(average=average, scale_loss=scale_loss)
    best = {"best_epoch": 1, "best_accuracy": 0.5, "best_loss": 0.7, "best_score": 0.6, "stale_epochs": 1}
    best["highest_score"] = 0.7
    losses = torch.tensor([0.5, 0.9])
    learner.state = dataclasses.replace(learner.state, epoch=2, best_losses=losses, **best)
    for _ in range(3):
        take_step(learner)
    save_checkpoint(tmp_path, learner, metadata=METADATA, device=CPU)
    metadata = describe_checkpoint(tmp_path)
    assert metadata == {**METADATA, "epoch": 2, "step": 3, **best}
    take_step(learner)

    restored = make_learner(average=average, scale_loss=scale_loss)
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(5)
    states = load_checkpoint(tmp_path, restored, device=CPU)
    assert (restored.state.epoch, restored.state.step, restored.state.meter.images) == (2, 3, 15)
    assert {name: getattr(restored.state, name) for name in best} == best
    assert torch.equal(restored.state.best_losses, losses)
    set_random_states(states, CPU)
    take_step(restored)
    for value, expected in zip(values_of(restored), values_of(learner), strict=True):
        assert torch.equal(value, expected)


def test_a_checkpoint_and_the_files_it_relies_on_are_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    calls = []
    save_weights(tmp_path, make_network())
    monkeypatch.setattr(files, "_fsync", lambda path: calls.append(path.name))
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda path, to: calls.append(f"rename to {to.name}") or replace(path, to))
    learner = make_learner()
    take_step(learner)
    save_checkpoint(tmp_path, learner, metadata=METADATA, device=CPU)
    temporary = next(name for name in calls if name.startswith(".checkpoint.pt."))
    folder = tmp_path.name
    assert calls == ["model.safetensors", folder, temporary, folder, "rename to checkpoint.pt", folder]


def test_a_missing_or_damaged_checkpoint_is_an_error(tmp_path):
    with pytest.raises(RunError, match=r"has no checkpoint\.pt"):
        load_checkpoint(tmp_path, make_learner(), device=CPU)
    for content in (b"", b"PK\x03\x04 broken", b"\x80\x04K\x01."):
        (tmp_path / "checkpoint.pt").write_bytes(content)
        with pytest.raises(RunError, match=r"checkpoint\.pt cannot be read|does not fit"):
            load_checkpoint(tmp_path, make_learner(), device=CPU)
        with pytest.raises(RunError, match=r"checkpoint\.pt cannot be read"):
            describe_checkpoint(tmp_path)


def test_a_checkpoint_that_would_run_code_is_refused_without_advice_to_run_it(tmp_path):
    torch.save({"state": print}, tmp_path / "checkpoint.pt")
    with pytest.raises(RunError, match="it contains print besides weights, which could run code") as caught:
        describe_checkpoint(tmp_path)
    assert "weights_only" not in str(caught.value)
    assert "--resume" in caught.value.hint


def test_a_checkpoint_of_another_network_is_an_error(tmp_path):
    save_checkpoint(tmp_path, make_learner(5), metadata=METADATA, device=CPU)
    with pytest.raises(RunError, match=r"does not fit the network that 'run\.json' describes"):
        load_checkpoint(tmp_path, make_learner(), device=CPU)


def test_loading_a_checkpoint_runs_no_code(tmp_path):
    class Malicious:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"about": Malicious()}, tmp_path / "checkpoint.pt")
    for read in (describe_checkpoint, lambda folder: load_checkpoint(folder, make_learner(), device=CPU)):
        with pytest.raises(RunError, match="cannot be read"):
            read(tmp_path)
    assert not (tmp_path / "ran").exists()
