"""Where a training stands: the place in it, the sums of the epoch so far, and the best epoch."""

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
    """Sums loss and hits on the device, so that the loop need not wait for it at every step.

    Attributes:
        images: Those that this process has seen.
        shared: Those that all processes have seen.
        started: When, by `time.perf_counter`.
    """

    def __init__(self, device: torch.device) -> None:
        self._sums = torch.zeros(2, dtype=torch.float32, device=device)
        self.images = 0
        self.shared = 0
        self.started = time.perf_counter()

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor, *, share: float = 1.0) -> None:
        """Takes in one batch, or this process's share of it."""
        hits = (logits.detach().argmax(dim=1) == labels).sum()
        self._sums += torch.stack([loss.detach() * len(labels), hits])
        self.images += len(labels)
        self.shared += round(len(labels) / share)

    def read(self, processes: ProcessGroup = SINGLE_PROCESS) -> tuple[float, float]:
        """Returns mean loss and accuracy so far, over the images of all processes. Waits for the device."""
        loss, hits, images = processes.all_reduce(*self._sums.tolist(), self.images)
        return loss / images, hits / images

    def rate(self) -> float:
        """Returns images a second so far."""
        return self.shared / max(1e-9, time.perf_counter() - self.started)

    def state_dict(self) -> dict[str, Any]:
        """Returns what `load_state_dict` takes. Waits for the device."""
        seconds = time.perf_counter() - self.started
        return {"sums": self._sums.clone().cpu(), "images": self.images, "shared": self.shared, "seconds": seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where another meter stood."""
        self._sums.copy_(state["sums"])
        self.images, self.shared = state["images"], state["shared"]
        self.started = time.perf_counter() - state["seconds"]


@dataclass(slots=True)
class TrainState:
    """Where training stands after a step; with weights, optimiser and random states all that a resume_point needs.

    Attributes:
        epoch: The last finished epoch; 0 before the first.
        step: Steps taken since. As many as an epoch has: only its evaluation is missing.
        meter: Of those steps; None where none was taken.
        scaler: Of the loss, in fp16; None where it is not scaled.
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
        """Takes note of an epoch; returns whether it is the best so far (of equal accuracies, the lower loss)."""
        better = not math.isnan(loss) and (accuracy, -loss) > (self.best_accuracy, -self.best_loss)
        if better:
            self.best_accuracy, self.best_loss = accuracy, loss
        return better

    def finish_epoch(self) -> None:
        """Goes on to the next epoch."""
        self.epoch, self.step, self.meter = self.epoch + 1, 0, None
