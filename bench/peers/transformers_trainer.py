"""transformers: its Trainer with the textbook's network, and its own optimizer (AdamW) and linear schedule."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from _task import Task, load_folders, load_resnet18, print_result, read_task, write_predictions
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Trainer, TrainingArguments

_RATE = 3e-4  # the default of 5e-5 is meant for language models


class WithLoss(nn.Module):
    """A network with the outputs that the Trainer expects."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.net = load_resnet18(task)
        self.layout = task.layout

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
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=WithLoss(task),
            args=TrainingArguments(
                output_dir=folder,
                num_train_epochs=task.epochs,
                per_device_train_batch_size=task.batch_size,
                per_device_eval_batch_size=task.batch_size,
                learning_rate=task.rate or _RATE,
                eval_strategy="epoch" if "val" in splits else "no",
                seed=task.seed,
                bf16=task.precision == "bf16",
                report_to="none",
                save_strategy="no",  # it refuses to save channels-last weights
                remove_unused_columns=False,
                disable_tqdm=True,
                use_cpu=task.device.type == "cpu",
                dataloader_pin_memory=task.device.type == "cuda",
                dataloader_num_workers=task.workers or 0,
                dataloader_persistent_workers=bool(task.workers),
            ),
            data_collator=collate,
            train_dataset=splits["train"],
            eval_dataset=splits.get("val"),
            compute_metrics=top1,
        )
        trainer.train()
        test = splits["test"]
        result = trainer.predict(test)
    predicted = [task.classes[index] for index in result.predictions.argmax(axis=1)]
    write_predictions(task, [Path(path) for path, _ in test.samples], predicted)
    print_result(float(result.metrics["test_accuracy"]), "transformers", "accelerate")


if __name__ == "__main__":
    main()
