"""The progress of a training: its position, the sums of the epoch so far, and the best epoch."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from zoo.training.distributed.process_group import SINGLE_PROCESS
from zoo.training.finite import StepLog
from zoo.training.forward import count_correct

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.training.distributed.process_group import ProcessGroup

_DOUBT = 1.64  # standard errors: 19 of 20 such differences are no chance


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
        correct = count_correct(logits.detach(), labels)
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
        log: The steps that were not checked yet, which a checkpoint does not need.
        scaler: Scales the loss, in fp16; None otherwise.
        best_epoch: The best epoch so far; 0 is the probe.
        best_accuracy: Its validation accuracy.
        best_loss: Its validation loss.
        best_losses: Its loss for every validation photo, float32.
        best_score: Its monitored value, as in `zoo.training.monitor.Measurement`.
        lowest_losses: The losses after the last epoch, or at the start, in which the mean fell by more than its
            standard error.
        highest_score: The highest monitored value of an epoch, or that of the start.
        stale_epochs: Epochs since the monitored value rose, or since the losses fell if none is monitored.
    """

    epoch: int = 0
    step: int = 0
    meter: Meter | None = None
    log: StepLog = field(default_factory=StepLog)
    scaler: torch.amp.GradScaler | None = None
    best_epoch: int = -1
    best_accuracy: float = -1.0
    best_loss: float = float("inf")
    best_losses: Tensor | None = None
    best_score: float = -math.inf
    lowest_losses: Tensor | None = None
    highest_score: float = -math.inf
    stale_epochs: int = 0

    def improve(self, accuracy: float, loss: float, losses: Tensor, *, score: float | None = None) -> bool:
        """Returns whether the last epoch is the best so far, and records it if so.

        The better of two epochs is the one whose loss is lower by more than the standard error of the difference; if
        that says nothing, the more accurate one, and of two equally accurate ones that of the lower loss. But what
        replaces a probe must have a lower loss beyond doubt: a few validation photos more or less are no reason to give
        up a fit that generalises well.

        With a monitored value, the better epoch is the one with the higher value, and of two with the same value that
        of the lower loss. `stale_epochs` follows the same value, or the losses.

        Args:
            accuracy: Top-1 on the validation split, 0 to 1.
            loss: Mean validation loss.
            losses: Negative log-likelihood of every validation photo, float32 ``(N,)``.
            score: The monitored value, where higher is better; NaN is worse than any other. None for the rule above.
        """
        self._count_stale(losses, score)
        if self.best_losses is None:
            better = True
        elif score is not None:
            better = (score, -loss) > (self.best_score, -self.best_loss)  # not for NaN
        elif self.best_epoch == 0:
            better = is_lower(losses, self.best_losses, by=_DOUBT)
        elif is_lower(losses, self.best_losses) or is_lower(self.best_losses, losses):
            better = loss < self.best_loss
        else:
            better = (accuracy, -loss) > (self.best_accuracy, -self.best_loss)
        if better and not math.isnan(loss):
            self.best_epoch, self.best_accuracy, self.best_loss = self.epoch, accuracy, loss
            self.best_losses = losses
            self.best_score = -math.inf if score is None or math.isnan(score) else score
            return True
        return False

    def _count_stale(self, losses: Tensor, score: float | None) -> None:
        if self.lowest_losses is not None:
            better = (
                is_lower(losses, self.lowest_losses) if score is None else score > self.highest_score
            )  # not for NaN
            if not better:
                self.stale_epochs += 1
                return
        self.start_counting(losses, score)

    def start_counting(self, losses: Tensor, score: float | None) -> None:
        """Counts stale epochs from here on, where the losses and the monitored value are these; as for `improve`."""
        self.stale_epochs, self.lowest_losses = 0, losses
        self.highest_score = -math.inf if score is None or math.isnan(score) else score

    def finish_epoch(self) -> None:
        """Moves on to the next epoch."""
        self.epoch, self.step, self.meter = self.epoch + 1, 0, None


def is_lower(losses: Tensor, others: Tensor, *, by: float = 1.0) -> bool:
    """Returns whether the mean loss over some photos is lower than another by more than `by` standard errors.

    Args:
        losses: The loss of every photo, float32 ``(N,)``.
        others: The other losses of the same photos.
        by: The number of standard errors.
    """
    gains = (others - losses).double()
    if len(gains) < 2:  # no standard error
        return float(gains.sum()) > 0
    return float(gains.mean()) > by * float(gains.std()) / math.sqrt(len(gains))
