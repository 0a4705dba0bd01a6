"""timm's building blocks, assembled as in its training script, with the script's defaults as far as a short run allows.

There are no five epochs of warm-up, and the learning rate is the default for this batch size.
"""

from __future__ import annotations

import timm
import torch
from _task import Task, load_weights, print_result, read_task
from timm.data import create_dataset, create_loader, resolve_data_config
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import AverageMeter, accuracy
from torch import nn

_RATE, _RATE_BATCH, _WORKERS = 0.1, 256, 4  # the script's defaults


def make_loader(task: Task, split: str, config: dict[str, object]) -> object:
    """Creates a prefetching loader as the script does."""
    return create_loader(
        create_dataset("", root=str(task.data), split=split, is_training=split == "train"),
        input_size=(3, task.image_size, task.image_size),
        batch_size=task.batch_size,
        is_training=split == "train",
        scale=(0.08, 1.0),
        interpolation="random" if split == "train" else config["interpolation"],
        mean=config["mean"],
        std=config["std"],
        num_workers=_WORKERS if task.workers is None else task.workers,
        pin_memory=task.device.type == "cuda",
        device=task.device,
    )


def validate(net: nn.Module, batches: object, task: Task) -> float:
    """Returns the top-1 accuracy."""
    net.eval()
    top1 = AverageMeter()
    with torch.inference_mode(), task.autocast():
        for images, labels in batches:
            images = images.contiguous(memory_format=task.layout)
            top1.update(accuracy(net(images), labels)[0].item(), len(labels))
    return top1.avg / 100


def main() -> None:
    """Trains, evaluates and prints the result."""
    task = read_task()
    net = timm.create_model("resnet18", num_classes=len(task.classes))
    load_weights(net, task)
    net.to(task.device)
    if task.channels_last:
        net.to(memory_format=torch.channels_last)
    config = resolve_data_config({}, model=net)
    loaders = {split: make_loader(task, split, config) for split in ("train", "val", "test")}
    rate = _RATE * task.batch_size / _RATE_BATCH
    optimizer = create_optimizer_v2(net, opt="sgd", lr=rate, momentum=0.9, weight_decay=2e-5)
    scheduler, _ = create_scheduler_v2(
        optimizer, sched="cosine", num_epochs=task.epochs, updates_per_epoch=len(loaders["train"])
    )
    criterion = nn.CrossEntropyLoss()
    for epoch in range(task.epochs):
        net.train()
        for images, labels in loaders["train"]:
            images = images.contiguous(memory_format=task.layout)
            with task.autocast():
                loss = criterion(net(images), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        validate(net, loaders["val"], task)
        scheduler.step(epoch + 1)
    print_result(validate(net, loaders["test"], task), "timm")


if __name__ == "__main__":
    main()
