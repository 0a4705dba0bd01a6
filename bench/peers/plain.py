"""A plain PyTorch loop, as a textbook has it: ImageFolder, DataLoader, SGD, the output layer ten times as fast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from _task import Task, answer, load_batches, load_resnet18, make_sgd, read_task
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import DataLoader


def evaluate(net: nn.Module, batches: DataLoader[Any], task: Task) -> float:
    """Returns top-1."""
    net.eval()
    hits = count = 0
    with torch.no_grad(), task.autocast():
        for images, labels in batches:
            said = net(images.to(task.device)).argmax(dim=1)
            hits += int((said == labels.to(task.device)).sum())
            count += len(labels)
    return hits / count


def main() -> None:
    """Trains, evaluates, answers."""
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
    answer(evaluate(net, loaders["test"], task), "torchvision")


if __name__ == "__main__":
    main()
