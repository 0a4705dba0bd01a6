"""Lightning: a LightningModule around the textbook's network and optimizer, and a Trainer."""

from __future__ import annotations

import logging
import tempfile
import warnings
from typing import TYPE_CHECKING

import lightning
from _task import Task, load_batches, load_resnet18, make_sgd, print_result, read_task
from torch.nn import functional as F

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Classifier(lightning.LightningModule):
    """A network with its loss and optimizer."""

    def __init__(self, net: nn.Module, task: Task) -> None:
        super().__init__()
        self.net = net
        self.task = task

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Returns the loss."""
        images, labels = batch
        loss = F.cross_entropy(self.net(images.to(memory_format=self.task.layout)), labels)
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Logs the top-1 accuracy."""
        images, labels = batch
        predictions = self.net(images.to(memory_format=self.task.layout)).argmax(dim=1)
        self.log("accuracy", (predictions == labels).float().mean(), batch_size=len(labels))

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Creates SGD."""
        return make_sgd(self.net, self.task)


def main() -> None:
    """Trains, evaluates and prints the result."""
    task = read_task()
    loaders = load_batches(task)
    with tempfile.TemporaryDirectory() as folder:
        trainer = lightning.Trainer(
            max_epochs=task.epochs,
            devices=1,
            default_root_dir=folder,
            enable_progress_bar=False,
            enable_model_summary=False,
            precision="bf16-mixed" if task.precision == "bf16" else None,
        )
        module = Classifier(load_resnet18(task), task)
        trainer.fit(module, loaders["train"], loaders.get("val"))
        figures = trainer.test(module, loaders["test"], verbose=False)
    print_result(float(figures[0]["accuracy"]), "lightning")


if __name__ == "__main__":
    main()
