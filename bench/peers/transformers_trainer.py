"""transformers: its Trainer with the textbook's network, and its own optimizer (AdamW) and linear schedule."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from _task import Task, load_folders, load_resnet18, print_result, read_task
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Trainer, TrainingArguments

_RATE = 3e-4  # the default of 5e-5 is meant for language models


class WithLoss(nn.Module):
    """A network with the outputs that the Trainer expects."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.net = load_resnet18(task)
        self.layout = torch.channels_last if task.best else torch.preserve_format

    def forward(self, pixel_values: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Returns the loss and the logits."""
        logits = self.net(pixel_values.to(memory_format=self.layout))
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


def collate(samples: list[tuple[Tensor, int]]) -> dict[str, Tensor]:
    """Collates a batch with the argument names of `WithLoss.forward`."""
    images, labels = zip(*samples, strict=True)
    return {"pixel_values": torch.stack(images), "labels": torch.tensor(labels)}


def top1(predicted: Any) -> dict[str, float]:
    """Returns the top-1 accuracy."""
    return {"accuracy": float((predicted.predictions.argmax(axis=1) == predicted.label_ids).mean())}


def main() -> None:
    """Trains, evaluates and prints the result."""
    task = read_task()
    splits = load_folders(task)
    fast: dict[str, Any] = {"bf16": True, "dataloader_num_workers": task.workers} if task.best else {}
    if fast and task.workers:
        fast["dataloader_persistent_workers"] = True
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=WithLoss(task),
            args=TrainingArguments(
                output_dir=folder,
                num_train_epochs=task.epochs,
                per_device_train_batch_size=task.batch_size,
                per_device_eval_batch_size=task.batch_size,
                learning_rate=_RATE,
                eval_strategy="epoch",
                report_to="none",
                save_strategy="no",  # it refuses to save channels-last weights
                remove_unused_columns=False,
                disable_tqdm=True,
                use_cpu=task.device.type == "cpu",
                dataloader_pin_memory=task.device.type == "cuda",
                **fast,
            ),
            data_collator=collate,
            train_dataset=splits["train"],
            eval_dataset=splits["val"],
            compute_metrics=top1,
        )
        trainer.train()
        figures = trainer.evaluate(splits["test"])
    print_result(float(figures["eval_accuracy"]), "transformers", "accelerate")


if __name__ == "__main__":
    main()
