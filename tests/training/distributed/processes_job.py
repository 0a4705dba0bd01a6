"""What each of two processes does in tests/training/distributed/test_process_group.py; writes what it saw as JSON.

Started as ``processes_job.py FOLDER``, with torchrun's variables set.
"""

import json
import signal
import sys
from pathlib import Path
from unittest.mock import patch

import torch
from fakes import FakePlugin, SmallBackbone, make_images, make_registry, make_samples
from safetensors.torch import load_file
from torch import nn

import zoo
from zoo.data.loading.loader import Batch, shard
from zoo.errors import ConfigError, OtherProcessError
from zoo.events import EpochResult, Note
from zoo.models.precision import Precision
from zoo.plugins.losses import Criterion
from zoo.runs.open import open_run
from zoo.training import finalize as conclusion
from zoo.training import saving
from zoo.training.checkpoint import Learner, load_checkpoint, save_checkpoint
from zoo.training.distributed.process_group import SINGLE_PROCESS, ProcessGroup, end
from zoo.training.forward import compute_outputs
from zoo.training.micro_batches import MicroBatches
from zoo.training.mixup import MixedBatch
from zoo.training.random_state import set_random_states
from zoo.training.state import TrainState
from zoo.training.step import Step

CPU = torch.device("cpu")
FP32 = Precision(name="fp32", device=CPU, reason="a test")
TRAINED = {
    "head": "flat",
    "data": "colours",
    "epochs": 2,
    "batch_size": 8,
    "optimizer": "adamw",
    "lr": 1e-3,
    "freeze": "none",
    "freeze_norm_stats": True,
    "crop_scale": 0.35,
    "clip_grad": 1.0,
    "device": "cpu",
    "precision": "fp32",
    "workers": 1,
}
RUNS = {
    "tuned": {},
    "in-scratch": {"weights": "none", "probe": False, "ema": None, "epochs": 1, "freeze_norm_stats": False},
    "solved": {"freeze": "all", "optimizer": "lbfgs", "weight_decay": 0.1, "epochs": 1, "probe": False},
    "on-features": {"freeze": "all", "probe": False},
}


def dataset():
    """Counts that two processes cannot share evenly, nor batches of 8: 37, 13 and 17 photos."""
    parts = {part: make_samples(part, 13)[:count] for part, count in (("train", 37), ("val", 13), ("test", 17))}
    return make_images(**parts)


def without_pictures():
    pictures = dict.fromkeys(("write_curves", "write_confusion", "write_mistakes"), lambda *args, **how: None)
    return patch.multiple(conclusion, **pictures)


def train(runs, name, observer=lambda event: None, **more):
    """Fine-tunes as `RUNS` says; draws no pictures."""
    registry, values = make_registry(FakePlugin(dataset=dataset())), {**TRAINED, **RUNS[name], **more}
    with without_pictures():
        return zoo.finetune("small", registry=registry, runs=runs / name, observer=observer, **values)


class Network(nn.Module):
    """A classifier with a layer that no loss depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.unused, self.head = SmallBackbone(), nn.Linear(3, 3), nn.Linear(12, 3)
        self.head.loss = Criterion(name="cross-entropy").loss

    def forward(self, photos):
        return self.head(self.backbone(photos).pooled)


def steps_differ_by(processes, *, micro_batches):
    """Returns how far the weights after two steps of all processes are from those after the same steps of one."""
    torch.manual_seed(1)
    photos, labels = torch.randn(2, 7, 3, 16, 16), torch.randint(3, (2, 7))
    mine = slice(0, 3) if processes.is_main else slice(3, 7)
    weights = []
    for together in (processes, SINGLE_PROCESS):
        torch.manual_seed(0)
        network = Network()
        network.train().backbone.eval()  # batch statistics of half a batch are others
        step = Step(
            network,
            torch.optim.SGD(network.parameters(), lr=0.1),
            precision=FP32,
            micro_batches=MicroBatches(micro_batches),
            processes=together,
        )
        for x, y in zip(photos, labels, strict=True):
            part = slice(None) if together.is_single else mine
            step(MixedBatch(x[part], y[part], share=len(y[part]) / len(y)))
        weights.append(torch.cat([parameter.detach().flatten() for parameter in network.parameters()]))
    return float((weights[0] - weights[1]).abs().max())


def random_states_come_back(processes, folder):
    """Returns whether this process draws again what it drew after the checkpoint."""
    network = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    learner = Learner(network=network, optimizer=optimizer, state=TrainState(epoch=4))
    torch.manual_seed(processes.rank)
    save_checkpoint(folder, learner, about={}, device=CPU, processes=processes)
    drawn = torch.rand(3)
    processes.barrier()
    learner.state = TrainState()
    set_random_states(load_checkpoint(folder, learner, device=CPU, processes=processes), CPU)
    return learner.state.epoch == 4 and torch.equal(torch.rand(3), drawn)


def goes_on(folder):
    """Returns where a run was saved that a signal to one process stopped, and whether it then ends as another."""
    how = {"ema": 0.9, "dropout": 0.3, "freeze_norm_stats": False}

    def stop(event):
        if isinstance(event, EpochResult) and event.epoch == 1:
            signal.raise_signal(signal.SIGTERM)

    whole = train(folder / "whole", "tuned", **how)
    try:
        with patch.object(saving, "_SECONDS_BETWEEN_TALKS", 0):
            train(folder / "stopped", "tuned", stop, **how)
    except KeyboardInterrupt:
        ProcessGroup.from_environment().barrier()  # until the first has written down where it stopped
        stopped = open_run(whole.path.parents[2] / "stopped" / "tuned" / whole.name)
    with without_pictures():
        again = zoo.resume(stopped.path, registry=make_registry(FakePlugin(dataset=dataset())))
    ours, theirs = (load_file(run.weights_path) for run in (again, whole))
    losses = [[row["train_loss"] for row in run.metrics()] for run in (again, whole)]
    same = losses[0] == losses[1] and all(torch.equal(ours[name], theirs[name]) for name in ours)
    return {"same": same, "saved": stopped.record.saved}


def outputs(processes, count):
    """Returns the labels of a part whose images are shared among the processes."""
    mine = torch.arange(count)[shard(count, processes.rank, processes.count)]
    batches = [Batch(chunk.float().view(-1, 1), chunk) for chunk in mine.split(2) if len(chunk)]
    found = compute_outputs(nn.Identity(), batches, FP32, processes=processes)
    assert torch.equal(found.logits.flatten().long(), found.labels)
    return found.labels.tolist()


def main(folder):
    processes = ProcessGroup.from_environment()
    seen = {"rank": processes.rank}
    torch.set_num_threads(1)
    notes = []
    try:
        with processes.session():
            seen["decided"] = processes.broadcast(lambda: f"by {processes.rank}")
            seen["gathered"] = processes.all_gather(processes.rank)
            seen["total"] = processes.all_reduce(0.5, processes.rank)
            seen["joined"] = processes.all_gather_rows([torch.ones(2)] if processes.is_main else []).tolist()
            seen["outputs"] = [outputs(processes, count) for count in (1, 5)]
            seen["steps"] = [steps_differ_by(processes, micro_batches=size) for size in (None, 2)]
            seen["random"] = random_states_come_back(processes, folder)
            for name in RUNS:
                run = train(folder / "runs", name, lambda event: notes.append(event))
                seen[name] = run.results["test"]["accuracy"]
            seen["goes on"] = goes_on(folder / "again")
            seen["events"] = len(notes)
            seen["notes"] = [event.text for event in notes if isinstance(event, Note)]
            if not processes.is_main:
                raise ConfigError("This one fails.")
            processes.barrier()
    except (ConfigError, OtherProcessError) as error:
        seen["error"] = type(error).__name__
    (folder / f"{processes.rank}.json").write_text(json.dumps(seen), "utf-8")
    end(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
