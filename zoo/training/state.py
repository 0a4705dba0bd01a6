"""The progress of a training: its position, the sums of the epoch so far, and the best epoch."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from zoo.training.distributed.process_group import SINGLE_PROCESS

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.training.distributed.process_group import ProcessGroup


class Meter:
    """Sums losses and correct predictions on the device, so that the loop does not wait for it at every step.

    Attributes:
        images: Images that this process has seen.
        all_images: Images that all processes have seen.
        started: Start time by `time.perf_counter`.
    """

    def __init__(self, device: torch.device) -> None:
        self._sums = torch.zeros(2, dtype=torch.float32, device=device)
        self.images = 0
        self.all_images = 0
        self.started = time.perf_counter()

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor, *, share: float = 1.0) -> None:
        """Adds a batch, or this process's share of it."""
        correct = (logits.detach().argmax(dim=1) == labels).sum()
        self._sums += torch.stack([loss.detach() * len(labels), correct])
        self.images += len(labels)
        self.all_images += round(len(labels) / share)

    def read(self, processes: ProcessGroup = SINGLE_PROCESS) -> tuple[float, float]:
        """Returns mean loss and accuracy so far, over the images of all `processes`. Waits for the device."""
        loss, correct, images = processes.all_reduce(*self._sums.tolist(), self.images)
        return loss / images, correct / images

    def rate(self) -> float:
        """Returns images per second so far."""
        return self.all_images / max(1e-9, time.perf_counter() - self.started)

    def state_dict(self) -> dict[str, Any]:
        """Returns the state, for `load_state_dict`. Waits for the device."""
        seconds = time.perf_counter() - self.started
        return {"sums": self._sums.clone().cpu(), "images": self.images, "shared": self.all_images, "seconds": seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from the state of another meter."""
        self._sums.copy_(state["sums"])
        self.images, self.all_images = state["images"], state["shared"]
        self.started = time.perf_counter() - state["seconds"]


@dataclass(slots=True)
class TrainState:
    """The position of a training after a step. A checkpoint needs it beside weights, optimizer and random states.

    Attributes:
        epoch: The last finished epoch; 0 before the first.
        step: Steps taken since then. If it is the number of steps per epoch, only the evaluation is missing.
        meter: The sums over these steps; None before the first of them.
        scaler: Scales the loss, in fp16; None otherwise.
        best_accuracy: Highest validation accuracy so far.
        best_loss: Validation loss of that epoch.
    """

    epoch: int = 0
    step: int = 0
    meter: Meter | None = None
    scaler: torch.amp.GradScaler | None = None
    best_accuracy: float = -1.0
    best_loss: float = float("inf")

    def improve(self, accuracy: float, loss: float) -> bool:
        """Returns whether an epoch is the best so far, and records it if so; a lower loss breaks a tie."""
        better = not math.isnan(loss) and (accuracy, -loss) > (self.best_accuracy, -self.best_loss)
        if better:
            self.best_accuracy, self.best_loss = accuracy, loss
        return better

    def finish_epoch(self) -> None:
        """Moves on to the next epoch."""
        self.epoch, self.step, self.meter = self.epoch + 1, 0, None
