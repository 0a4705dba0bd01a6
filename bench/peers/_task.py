"""The task of every peer and the form of its result, so that only the trainers differ."""

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
LR, HEAD_LR, MOMENTUM, WEIGHT_DECAY = 1e-3, 1e-2, 0.9, 1e-3  # for a mean loss; used by the peers that train with SGD


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The training task.

    Attributes:
        data: Folder with class folders in ``train/``, ``val/`` and ``test/``.
        weights: Weights of torchvision's resnet18 as safetensors; None for random weights.
        epochs: Epochs on ``train/``, each followed by an evaluation on ``val/``. The test split is evaluated
            once, at the end.
        image_size: Side of the network's input in pixels.
        batch_size: Images per step.
        best: Whether to use bf16, channels-last and workers instead of the trainer's defaults.
        workers: Loader processes, used with `best`.
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
        """The GPU if there is one, else the CPU."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def classes(self) -> int:
        """Number of classes."""
        return sum(1 for path in (self.data / "train").iterdir() if path.is_dir())

    def autocast(self) -> torch.autocast:
        """Returns bf16 autocast with `best`, else a context without effect."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.best)


def read_task() -> Task:
    """Parses the task from the command line and seeds torch."""
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
    """Builds torchvision's resnet18 with the task's weights and a new output layer."""
    net = models.resnet18()
    net.fc = torch.nn.Linear(net.fc.in_features, task.classes)
    load_weights(net, task)
    return net.to(memory_format=torch.channels_last) if task.best else net  # type: ignore[call-overload]


def load_weights(net: nn.Module, task: Task) -> None:
    """Loads the task's weights into a resnet18, except the output layer."""
    if task.weights is None:
        return
    import safetensors.torch

    state = safetensors.torch.load_file(task.weights)
    result = net.load_state_dict(
        {key: value for key, value in state.items() if not key.startswith("fc.")}, strict=False
    )
    new = ("fc.weight", "fc.bias", "num_batches_tracked")
    if result.unexpected_keys or not all(key.endswith(new) for key in result.missing_keys):
        raise SystemExit(f"{task.weights} does not fit: {result}")


def load_batches(task: Task) -> dict[str, DataLoader[Any]]:
    """Returns a loader for each split, with the task's workers if `best`, else with torch's default of none."""
    fast: dict[str, Any] = {"num_workers": task.workers, "persistent_workers": task.workers > 0} if task.best else {}
    pinned = task.device.type == "cuda"
    return {
        split: DataLoader(photos, task.batch_size, shuffle=split == "train", pin_memory=pinned, **fast)
        for split, photos in load_folders(task).items()
    }


def load_folders(task: Task) -> dict[str, ImageFolder]:
    """Returns the splits as torchvision's datasets, with the textbook's transforms."""
    normalise = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    augment = [transforms.RandomResizedCrop(task.image_size), transforms.RandomHorizontalFlip()]
    centre = [transforms.Resize(task.image_size * 256 // 224), transforms.CenterCrop(task.image_size)]
    return {
        split: ImageFolder(
            task.data / split, transforms.Compose([*(augment if split == "train" else centre), *normalise])
        )
        for split in ("train", "val", "test")
    }


def make_sgd(net: nn.Module) -> torch.optim.SGD:
    """Creates SGD with a learning rate ten times as high for the output layer."""
    head = [parameter for name, parameter in net.named_parameters() if name.startswith("fc.")]
    body = [parameter for name, parameter in net.named_parameters() if not name.startswith("fc.")]
    groups = [{"params": body}, {"params": head, "lr": HEAD_LR}]
    return torch.optim.SGD(groups, lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)


def print_result(accuracy: float, *packages: str) -> None:
    """Prints the last line: the test accuracy (0 to 1) and package versions."""
    values: dict[str, Any] = {"accuracy": accuracy}
    values["packages"] = {name: importlib.metadata.version(name) for name in ("torch", *packages)}
    print(json.dumps(values), flush=True)
