"""fastai: `vision_learner` and `fine_tune`, one epoch with a frozen body, as its documentation does."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from _task import Task, load_weights, print_result, read_task, write_predictions
from torchvision import models

warnings.filterwarnings("ignore")
from fastai.callback.channelslast import ChannelsLast  # noqa: E402
from fastai.vision.all import (  # noqa: E402
    Callback,
    FlipItem,
    ImageDataLoaders,
    RandomResizedCrop,
    Resize,
    accuracy,
    aug_transforms,
    set_seed,
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
        net.fc = torch.nn.Linear(net.fc.in_features, len(task.classes))
        load_weights(net, task)
        return net

    model_meta[resnet18] = model_meta[models.resnet18]
    set_seed(task.seed)
    if task.own_augmentation:  # as in its documentation, where photos have 460 px before and 224 px after augmentation
        transforms: dict[str, Any] = {
            "item_tfms": Resize(round(task.image_size * 460 / 224)),
            "batch_tfms": aug_transforms(size=task.image_size),
        }
    else:
        transforms = {"item_tfms": [RandomResizedCrop(task.image_size), FlipItem()]}
    data = ImageDataLoaders.from_folder(
        task.data,
        train="train",
        valid="val",
        bs=task.batch_size,
        device=task.device,
        **transforms,
        **({} if task.workers is None else {"num_workers": task.workers}),
    )
    callbacks = [ChannelsLast()] * task.channels_last + [Bf16(task)] * (task.precision == "bf16")
    learner = vision_learner(data, resnet18, metrics=accuracy, cbs=callbacks)
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(task.epochs - 1, freeze_epochs=1)
        photos = sorted((task.data / "test").glob("*/*"))
        scores, labels = learner.get_preds(dl=data.test_dl(photos, with_labels=True))
    predicted = scores.argmax(dim=1)
    write_predictions(task, photos, [data.vocab[index] for index in predicted])
    print_result(float((predicted == labels).float().mean()), "fastai")


if __name__ == "__main__":
    main()
