"""Lightning: a LightningModule around the textbook's network and optimizer, and a Trainer."""

from __future__ import annotations

import logging
import tempfile
import warnings

import lightning
import torch
from _task import load_batches, load_resnet18, make_sgd, print_result, read_task
from torch import Tensor, nn
from torch.nn import functional as F

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Classifier(lightning.LightningModule):
    """A network with its loss and optimizer."""

    def __init__(self, net: nn.Module, *, channels_last: bool) -> None:
        super().__init__()
        self.net = net
        self.layout = torch.channels_last if channels_last else torch.preserve_format

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Returns the loss."""
        images, labels = batch
        loss = F.cross_entropy(self.net(images.to(memory_format=self.layout)), labels)
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Logs the top-1 accuracy."""
        images, labels = batch
        predictions = self.net(images.to(memory_format=self.layout)).argmax(dim=1)
        self.log("accuracy", (predictions == labels).float().mean(), batch_size=len(labels))

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Creates SGD."""
        return make_sgd(self.net)


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
            **({"precision": "bf16-mixed"} if task.best else {}),
        )
        module = Classifier(load_resnet18(task), channels_last=task.best)
        trainer.fit(module, loaders["train"], loaders["val"])
        figures = trainer.test(module, loaders["test"], verbose=False)
    print_result(float(figures[0]["accuracy"]), "lightning")


if __name__ == "__main__":
    main()
