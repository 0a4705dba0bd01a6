"""The work of each of two processes in tests/training/distributed/test_process_group.py; writes its results as JSON.

Started as ``processes_job.py FOLDER``, with the variables of torchrun.
"""

import json
import signal
import sys
from pathlib import Path
from unittest.mock import patch

import torch
from criteria import make_criterion
from fakes import FakePlugin, SmallBackbone, make_images, make_registry, make_samples
from torch import nn
from training_runs import FAST, EventRecorder, after_epoch, read_weights

import zoo
from zoo.data.loading.loader import Batch, shard
from zoo.errors import ConfigError, OtherProcessError
from zoo.models.precision import Precision
from zoo.models.random_state import set_random_states
from zoo.runs.open import open_run
from zoo.training import checkpointer
from zoo.training.checkpoint import Learner, load_checkpoint, save_checkpoint
from zoo.training.distributed.process_group import SINGLE_PROCESS, ProcessGroup, end
from zoo.training.forward import compute_outputs
from zoo.training.micro_batches import MicroBatches
from zoo.training.mixing import MixedBatch
from zoo.training.state import TrainState
from zoo.training.step import Step

CPU = torch.device("cpu")
FP32 = Precision(name="fp32", device=CPU, reason="a test")
OPTIONS = {
    **FAST,
    "epochs": 2,
    "freeze_norm_stats": True,
    "clip_grad": 1.0,
    "workers": 1,
    "probe": True,
    "patience": None,
}
RUNS = {
    "fine-tuned": {"augment": ("trivialaugment", "random-erasing", "blur"), "rotation": 20},
    "from-scratch": {"weights": "none", "probe": False, "ema": None, "epochs": 1, "freeze_norm_stats": False},
    "solved": {"freeze": "all", "optimizer": "lbfgs", "weight_decay": 0.1, "epochs": 1, "probe": False},
    "on-features": {"freeze": "all", "probe": False},
}


def make_dataset():
    """Returns 37, 13 and 17 photos, which neither two processes nor batches of 8 can share evenly."""
    counts = {"train": 37, "val": 13, "test": 17}
    return make_images(**{split: make_samples(split, 13)[:count] for split, count in counts.items()})


def train(runs, name, observer=lambda event: None, **values):
    """Fine-tunes with the options of `RUNS`, without pictures."""
    registry, values = make_registry(FakePlugin(dataset=make_dataset())), {**OPTIONS, **RUNS[name], **values}
    return zoo.finetune("small", registry=registry, runs=runs / name, observer=observer, pictures=False, **values)


class Network(nn.Module):
    """A classifier with an unused layer."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.unused, self.head = SmallBackbone(), nn.Linear(3, 3), nn.Linear(12, 3)
        self.head.loss = make_criterion("cross-entropy").loss

    def forward(self, images):
        return self.head(self.backbone(images).pooled)


def compare_steps(processes, *, micro_batches):
    """Returns the largest difference between the weights after two steps of all processes and of a single one."""
    torch.manual_seed(1)
    images, labels = torch.randn(2, 7, 3, 16, 16), torch.randint(3, (2, 7))
    own = slice(0, 3) if processes.is_main else slice(3, 7)
    weights = []
    for group in (processes, SINGLE_PROCESS):
        torch.manual_seed(0)
        network = Network()
        network.train().backbone.eval()  # batch normalisations would see half a batch
        step = Step(
            network,
            torch.optim.SGD(network.parameters(), lr=0.1),
            precision=FP32,
            micro_batches=MicroBatches(micro_batches),
            processes=group,
        )
        for x, y in zip(images, labels, strict=True):
            where = slice(None) if group.is_single else own
            step(MixedBatch(x[where], y[where], share=len(y[where]) / len(y)))
        weights.append(torch.cat([parameter.detach().flatten() for parameter in network.parameters()]))
    return float((weights[0] - weights[1]).abs().max())


def restores_random_states(processes, folder):
    """Returns whether a checkpoint restores the random generator of this process."""
    network = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    learner = Learner(network=network, optimizer=optimizer, state=TrainState(epoch=4))
    torch.manual_seed(processes.rank)
    save_checkpoint(folder, learner, metadata={}, device=CPU, processes=processes)
    expected = torch.rand(3)
    processes.barrier()
    learner.state = TrainState()
    set_random_states(load_checkpoint(folder, learner, device=CPU, processes=processes), CPU)
    return learner.state.epoch == 4 and torch.equal(torch.rand(3), expected)


def resume_after_signal(folder):
    """Stops a run by a signal to one process and resumes it.

    Returns:
        Where the run was saved, and whether it then ends as one that was never stopped.
    """
    options = {"ema": 0.9, "dropout": 0.3, "freeze_norm_stats": False}
    observer = EventRecorder(after_epoch(1), lambda: signal.raise_signal(signal.SIGTERM))
    whole = train(folder / "whole", "fine-tuned", **options)
    try:
        with patch.object(checkpointer, "_SECONDS_BETWEEN_EXCHANGES", 0):
            train(folder / "stopped", "fine-tuned", observer, **options)
    except KeyboardInterrupt:
        ProcessGroup.from_environment().barrier()  # until the main process has written the record
        stopped = open_run(whole.path.parents[2] / "stopped" / "fine-tuned" / whole.name)
    registry = make_registry(FakePlugin(dataset=make_dataset()))
    resumed = zoo.resume(stopped.path, registry=registry, pictures=False)
    ours, theirs = (read_weights(run) for run in (resumed, whole))
    losses = [[row["train_loss"] for row in run.metrics()] for run in (resumed, whole)]
    same = losses[0] == losses[1] and all(torch.equal(ours[name], theirs[name]) for name in ours)
    return {"same": same, "saved": stopped.record.saved}


def gather_outputs(processes, count):
    """Returns the labels of `count` images that the processes share."""
    own = torch.arange(count)[shard(count, processes.rank, processes.count)]
    batches = [Batch(chunk.float().view(-1, 1), chunk) for chunk in own.split(2) if len(chunk)]
    outputs = compute_outputs(nn.Identity(), batches, FP32, processes=processes)
    assert torch.equal(outputs.logits.flatten().long(), outputs.labels)
    return outputs.labels.tolist()


def main(folder):
    processes = ProcessGroup.from_environment()
    results = {"rank": processes.rank}
    torch.set_num_threads(1)
    observer = EventRecorder()
    try:
        with processes.session():
            results["broadcast"] = processes.broadcast(lambda: f"by {processes.rank}")
            results["all_gather"] = processes.all_gather(processes.rank)
            results["all_reduce"] = processes.all_reduce(0.5, processes.rank)
            rows = processes.all_gather_rows([torch.ones(2)] if processes.is_main else [])
            results["all_gather_rows"] = rows.tolist()
            results["outputs"] = [gather_outputs(processes, count) for count in (1, 5)]
            results["step_differences"] = [compare_steps(processes, micro_batches=size) for size in (None, 2)]
            results["random_states_restored"] = restores_random_states(processes, folder)
            runs = {name: train(folder / "runs", name, observer) for name in RUNS}
            results["accuracies"] = {name: run.results["test"]["accuracy"] for name, run in runs.items()}
            results["resumed"] = resume_after_signal(folder / "again")
            results["events"] = len(observer.events)
            results["notes"] = observer.notes
            if not processes.is_main:
                raise ConfigError("This process fails.")
            processes.barrier()
    except (ConfigError, OtherProcessError) as error:
        results["error"] = type(error).__name__
    (folder / f"{processes.rank}.json").write_text(json.dumps(results), "utf-8")
    end(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
