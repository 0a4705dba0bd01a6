"""A plain PyTorch loop from a textbook: ImageFolder, DataLoader, SGD, a tenfold learning rate for the output layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from _task import Task, load_batches, load_resnet18, make_sgd, print_result, read_task
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import DataLoader


def evaluate(net: nn.Module, batches: DataLoader[Any], task: Task) -> float:
    """Returns the top-1 accuracy."""
    net.eval()
    hits = count = 0
    with torch.no_grad(), task.autocast():
        for images, labels in batches:
            predictions = net(images.to(task.device)).argmax(dim=1)
            hits += int((predictions == labels.to(task.device)).sum())
            count += len(labels)
    return hits / count


def main() -> None:
    """Trains, evaluates and prints the result."""
    task = read_task()
    net = load_resnet18(task).to(task.device)
    loaders = load_batches(task)
    optimizer = make_sgd(net)
    for _ in range(task.epochs):
        net.train()
        for images, labels in loaders["train"]:
            images, labels = images.to(task.device, non_blocking=True), labels.to(task.device, non_blocking=True)
            if task.best:
                images = images.contiguous(memory_format=torch.channels_last)
            optimizer.zero_grad()
            with task.autocast():
                loss = F.cross_entropy(net(images), labels)
            loss.backward()
            optimizer.step()
        evaluate(net, loaders["val"], task)
    print_result(evaluate(net, loaders["test"], task), "torchvision")


if __name__ == "__main__":
    main()
