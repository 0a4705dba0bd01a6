"""What every peer is given, and what it answers: one task, so that the trainers are all that differs."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader
from torchvision import models, transforms
from torchvision.datasets import ImageFolder

if TYPE_CHECKING:
    from torch import nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LR, HEAD_LR, MOMENTUM, WEIGHT_DECAY = 1e-3, 1e-2, 0.9, 1e-3  # of a step's mean loss; for those that use SGD


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A folder of photos to train on, and how.

    Attributes:
        data: Holds ``train/``, ``val/`` and ``test/``, each with class folders.
        weights: Of torchvision's resnet18, as safetensors; None: random.
        epochs: Passes over ``train/``; ``val/`` is evaluated after each, ``test/`` once at the end.
        image_size: Side of the network's input in pixels.
        batch_size: Images a step.
        best: Whether bf16, channels-last and workers are used; else the trainer's defaults.
        workers: ProcessGroup that load photos, with `best`.
    """

    data: Path
    weights: Path | None
    epochs: int
    image_size: int
    batch_size: int
    best: bool
    workers: int

    @property
    def device(self) -> torch.device:
        """The GPU where there is one."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def classes(self) -> int:
        """How many there are."""
        return sum(1 for path in (self.data / "train").iterdir() if path.is_dir())

    def autocast(self) -> torch.autocast:
        """Returns bf16 autocast with `best`; else a context that changes nothing."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.best)


def read_task() -> Task:
    """Returns the task that the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--image-size", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--best", action="store_true")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    torch.manual_seed(0)
    return Task(**vars(parser.parse_args()))


def load_resnet18(task: Task) -> nn.Module:
    """Returns torchvision's resnet18 with the task's weights and a fresh output layer."""
    net = models.resnet18()
    net.fc = torch.nn.Linear(net.fc.in_features, task.classes)
    load_weights(net, task)
    return net.to(memory_format=torch.channels_last) if task.best else net  # type: ignore[call-overload]


def load_weights(net: nn.Module, task: Task) -> None:
    """Loads the task's weights into a resnet18, all but its output layer."""
    if task.weights is None:
        return
    import safetensors.torch

    state = safetensors.torch.load_file(task.weights)
    safe_point = net.load_state_dict(
        {key: value for key, value in state.items() if not key.startswith("fc.")}, strict=False
    )
    fresh = ("fc.weight", "fc.bias", "num_batches_tracked")
    if safe_point.unexpected_keys or not all(key.endswith(fresh) for key in safe_point.missing_keys):
        raise SystemExit(f"{task.weights} does not fit: {safe_point}")


def load_batches(task: Task) -> dict[str, DataLoader[Any]]:
    """Returns the parts in batches; the workers are those of `task` with `best`, else torch's default, none."""
    fast: dict[str, Any] = {"num_workers": task.workers, "persistent_workers": task.workers > 0} if task.best else {}
    pinned = task.device.type == "cuda"
    return {
        part: DataLoader(photos, task.batch_size, shuffle=part == "train", pin_memory=pinned, **fast)
        for part, photos in load_folders(task).items()
    }


def load_folders(task: Task) -> dict[str, ImageFolder]:
    """Returns the parts as torchvision's datasets, with the textbook's transforms."""
    normalise = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    varied = [transforms.RandomResizedCrop(task.image_size), transforms.RandomHorizontalFlip()]
    centred = [transforms.Resize(task.image_size * 256 // 224), transforms.CenterCrop(task.image_size)]
    return {
        part: ImageFolder(task.data / part, transforms.Compose([*(varied if part == "train" else centred), *normalise]))
        for part in ("train", "val", "test")
    }


def make_sgd(net: nn.Module) -> torch.optim.SGD:
    """Returns SGD with a rate ten times as high for the output layer."""
    head = [parameter for name, parameter in net.named_parameters() if name.startswith("fc.")]
    body = [parameter for name, parameter in net.named_parameters() if not name.startswith("fc.")]
    groups = [{"params": body}, {"params": head, "lr": HEAD_LR}]
    return torch.optim.SGD(groups, lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)


def answer(accuracy: float, *packages: str) -> None:
    """Prints the last line: accuracy on ``test/``, 0 to 1, and versions."""
    values: dict[str, Any] = {"accuracy": accuracy}
    values["packages"] = {name: importlib.metadata.version(name) for name in ("torch", *packages)}
    print(json.dumps(values), flush=True)
