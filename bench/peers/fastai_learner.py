"""fastai: `vision_learner` and `fine_tune`, one epoch with a frozen body, as its documentation does."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from _task import Task, load_weights, print_result, read_task
from torchvision import models

warnings.filterwarnings("ignore")
from fastai.callback.channelslast import ChannelsLast  # noqa: E402
from fastai.vision.all import (  # noqa: E402
    Callback,
    FlipItem,
    ImageDataLoaders,
    RandomResizedCrop,
    accuracy,
    vision_learner,
)
from fastai.vision.learner import model_meta  # noqa: E402


class Bf16(Callback):
    """bf16 autocast on any device; fastai's own callback supports only CUDA."""

    order = 10

    def __init__(self, task: Task) -> None:
        self.task = task

    def before_batch(self) -> None:
        """Enters autocast."""
        self.autocast = self.task.autocast()
        self.autocast.__enter__()

    def after_pred(self) -> None:
        """Casts predictions, because losses are computed in float32."""
        self.learn.pred = self.pred.float()

    def after_loss(self) -> None:
        """Leaves autocast."""
        self.autocast.__exit__(None, None, None)


def main() -> None:
    """Trains, evaluates and prints the result."""
    task = read_task()

    def resnet18(weights: Any = None) -> torch.nn.Module:
        net = models.resnet18()
        net.fc = torch.nn.Linear(net.fc.in_features, task.classes)
        load_weights(net, task)
        return net

    model_meta[resnet18] = model_meta[models.resnet18]
    data = ImageDataLoaders.from_folder(
        task.data,
        train="train",
        valid="val",
        item_tfms=[RandomResizedCrop(task.image_size), FlipItem()],
        bs=task.batch_size,
        device=task.device,
        **({"num_workers": task.workers} if task.best else {}),
    )
    callbacks = [ChannelsLast(), Bf16(task)] if task.best else []
    learner = vision_learner(data, resnet18, metrics=accuracy, cbs=callbacks)
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(task.epochs - 1, freeze_epochs=1)
        test = data.test_dl(sorted((task.data / "test").glob("*/*")), with_labels=True)
        figures = learner.validate(dl=test)
    print_result(float(figures[1]), "fastai")


if __name__ == "__main__":
    main()
