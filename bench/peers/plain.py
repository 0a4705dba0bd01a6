"""A plain PyTorch loop from a textbook: ImageFolder, DataLoader, SGD, a tenfold learning rate for the output layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from _task import Task, load_batches, load_resnet18, make_sgd, print_result, read_task, write_predictions
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import DataLoader


def classify(net: nn.Module, batches: DataLoader[Any], task: Task) -> list[int]:
    """Returns the predicted class of each photo."""
    net.eval()
    predicted: list[int] = []
    with torch.no_grad(), task.autocast():
        for images, _ in batches:
            predicted += net(images.to(task.device, memory_format=task.layout)).argmax(dim=1).tolist()
    return predicted


def accuracy(predicted: list[int], batches: DataLoader[Any]) -> float:
    """Returns the top-1 accuracy."""
    labels = batches.dataset.targets
    return sum(map(int.__eq__, predicted, labels)) / len(labels)


def train_epoch(net: nn.Module, batches: Any, optimizer: torch.optim.Optimizer, task: Task) -> None:
    """Takes a step on each batch."""
    net.train()
    for images, labels in batches:
        images = images.to(task.device, non_blocking=True, memory_format=task.layout)
        labels = labels.to(task.device, non_blocking=True)
        optimizer.zero_grad()
        with task.autocast():
            loss = F.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()


def main() -> None:
    """Trains, evaluates and prints the result."""
    task = read_task()
    net = load_resnet18(task).to(task.device)
    loaders = load_batches(task)
    optimizer = make_sgd(net, task)
    for _ in range(task.epochs):
        train_epoch(net, loaders["train"], optimizer, task)
        if "val" in loaders:
            accuracy(classify(net, loaders["val"], task), loaders["val"])
    test = loaders["test"]
    predicted = classify(net, test, task)
    photos = [Path(path) for path, _ in test.dataset.samples]
    write_predictions(task, photos, [task.classes[index] for index in predicted])
    print_result(accuracy(predicted, test), "torchvision")


if __name__ == "__main__":
    main()
