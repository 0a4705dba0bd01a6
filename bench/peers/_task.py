"""The task of every peer and the form of its result, so that only the trainers differ."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader
from torchvision import models, transforms
from torchvision.datasets import ImageFolder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LR, HEAD_MULTIPLIER, MOMENTUM, WEIGHT_DECAY = 1e-3, 10, 0.9, 1e-3  # for a mean loss; for the peers that train with SGD


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The training task.

    Attributes:
        data: Folder with class folders in ``train/``, ``test/`` and perhaps ``val/``.
        weights: Weights of torchvision's resnet18 as safetensors; None for random weights.
        epochs: Epochs on ``train/``, each followed by an evaluation on ``val/`` if there is one. The test split is
            evaluated once, at the end.
        image_size: Side of the network's input in pixels.
        batch_size: Images per step.
        rate: Learning rate; None for the trainer's own. fastai and timm always use their own.
        own_augmentation: Whether fastai augments as its documentation does, instead of as the others do.
        precision: ``"fp32"``, or ``"bf16"`` for autocast.
        channels_last: Whether images and weights have that layout.
        workers: Loader processes; None for the trainer's default.
        seed: Random seed of the new output layer, the order and the augmentation.
        predictions: File for the predicted class of each test photo, as JSON; None for no file.
    """

    data: Path
    weights: Path | None
    epochs: int
    image_size: int
    batch_size: int
    rate: float | None
    own_augmentation: bool
    precision: str
    channels_last: bool
    workers: int | None
    seed: int
    predictions: Path | None

    @property
    def device(self) -> torch.device:
        """The GPU if there is one, else the CPU."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def classes(self) -> list[str]:
        """Class names: the folders of the training split, sorted."""
        return sorted(path.name for path in (self.data / "train").iterdir() if path.is_dir())

    @property
    def layout(self) -> torch.memory_format:
        """The memory format of images."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self) -> torch.autocast:
        """Returns bf16 autocast, or a context without effect in fp32."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16")


def read_task() -> Task:
    """Parses the task from the command line and seeds torch."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--image-size", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--own-augmentation", action="store_true")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--predictions", type=Path)
    task = Task(**vars(parser.parse_args()))
    torch.manual_seed(task.seed)
    return task


def load_resnet18(task: Task) -> nn.Module:
    """Builds torchvision's resnet18 with the task's weights and a new output layer."""
    net = models.resnet18()
    net.fc = torch.nn.Linear(net.fc.in_features, len(task.classes))
    load_weights(net, task)
    return net.to(memory_format=torch.channels_last) if task.channels_last else net  # type: ignore[call-overload]


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


class Photos(ImageFolder):
    """The photos of a split, labelled with the classes of the training split, of which it may lack some."""

    def __init__(self, folder: Path, classes: list[str], transform: transforms.Compose) -> None:
        self._classes = classes
        super().__init__(folder, transform, allow_empty=True)

    def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
        """Returns the classes of the training split and their indices."""
        return self._classes, {name: index for index, name in enumerate(self._classes)}


def load_batches(task: Task) -> dict[str, DataLoader[Any]]:
    """Returns a loader for each split, with the task's workers, or with torch's default of none."""
    workers = task.workers or 0
    return {
        split: DataLoader(
            photos,
            task.batch_size,
            shuffle=split == "train",
            pin_memory=task.device.type == "cuda",
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        for split, photos in load_folders(task).items()
    }


def load_folders(task: Task) -> dict[str, Photos]:
    """Returns the splits as torchvision's datasets, with the textbook's transforms; ``val`` only if there is one."""
    normalise = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    augment = [transforms.RandomResizedCrop(task.image_size), transforms.RandomHorizontalFlip()]
    centre = [transforms.Resize(task.image_size * 256 // 224), transforms.CenterCrop(task.image_size)]
    return {
        split: Photos(
            task.data / split,
            task.classes,
            transforms.Compose([*(augment if split == "train" else centre), *normalise]),
        )
        for split in ("train", "val", "test")
        if (task.data / split).is_dir()
    }


def make_sgd(net: nn.Module, task: Task) -> torch.optim.SGD:
    """Creates SGD with a learning rate ten times as high for the output layer."""
    rate = task.rate or LR
    head = [parameter for name, parameter in net.named_parameters() if name.startswith("fc.")]
    body = [parameter for name, parameter in net.named_parameters() if not name.startswith("fc.")]
    groups = [{"params": body}, {"params": head, "lr": HEAD_MULTIPLIER * rate}]
    return torch.optim.SGD(groups, lr=rate, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)


def write_predictions(task: Task, photos: Sequence[Path], predicted: Sequence[str]) -> None:
    """Writes the predicted class of each test photo, if the task asks for it.

    Args:
        task: The task.
        photos: The test photos.
        predicted: Their predicted classes, in the same order.
    """
    if task.predictions:
        names = [path.relative_to(task.data / "test").as_posix() for path in photos]
        task.predictions.write_text(json.dumps(dict(zip(names, predicted, strict=True))), "utf-8")


def print_result(accuracy: float, *packages: str) -> None:
    """Prints the last line: the test accuracy (0 to 1) and package versions."""
    values: dict[str, Any] = {"accuracy": accuracy}
    values["packages"] = {name: importlib.metadata.version(name) for name in ("torch", *packages)}
    print(json.dumps(values), flush=True)
