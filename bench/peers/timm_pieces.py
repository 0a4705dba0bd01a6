"""timm's pieces, put together as its train script does, with that script's defaults where a short training allows it.

Its five epochs of warm-up are left out, and the rate is its default for a batch of this size.
"""

from __future__ import annotations

import timm
import torch
from _task import Task, answer, load_weights, read_task
from timm.data import create_dataset, create_loader, resolve_data_config
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import AverageMeter, accuracy
from torch import nn

_RATE, _RATE_BATCH, _WORKERS = 0.1, 256, 4  # the script's defaults


def make_loader(task: Task, part: str, config: dict[str, object]) -> object:
    """Returns a loader with prefetching, as the script makes it."""
    return create_loader(
        create_dataset("", root=str(task.data), split=part, is_training=part == "train"),
        input_size=(3, task.image_size, task.image_size),
        batch_size=task.batch_size,
        is_training=part == "train",
        scale=(0.08, 1.0),
        interpolation="random" if part == "train" else config["interpolation"],
        mean=config["mean"],
        std=config["std"],
        num_workers=task.workers if task.best else _WORKERS,
        pin_memory=task.device.type == "cuda",
        device=task.device,
    )


def validate(net: nn.Module, batches: object, task: Task) -> float:
    """Returns top-1."""
    net.eval()
    top1 = AverageMeter()
    with torch.inference_mode(), task.autocast():
        for images, labels in batches:
            images = images.contiguous(memory_format=torch.channels_last) if task.best else images
            top1.update(accuracy(net(images), labels)[0].item(), len(labels))
    return top1.avg / 100


def main() -> None:
    """Trains, evaluates, answers."""
    task = read_task()
    net = timm.create_model("resnet18", num_classes=task.classes)
    load_weights(net, task)
    net.to(task.device)
    if task.best:
        net.to(memory_format=torch.channels_last)
    config = resolve_data_config({}, model=net)
    loaders = {part: make_loader(task, part, config) for part in ("train", "val", "test")}
    rate = _RATE * task.batch_size / _RATE_BATCH
    optimizer = create_optimizer_v2(net, opt="sgd", lr=rate, momentum=0.9, weight_decay=2e-5)
    scheduler, _ = create_scheduler_v2(
        optimizer, sched="cosine", num_epochs=task.epochs, updates_per_epoch=len(loaders["train"])
    )
    criterion = nn.CrossEntropyLoss()
    for epoch in range(task.epochs):
        net.train()
        for images, labels in loaders["train"]:
            images = images.contiguous(memory_format=torch.channels_last) if task.best else images
            with task.autocast():
                loss = criterion(net(images), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        validate(net, loaders["val"], task)
        scheduler.step(epoch + 1)
    answer(validate(net, loaders["test"], task), "timm")


if __name__ == "__main__":
    main()
