"""The training loop: a generator of `EpochResult`, read from top to bottom."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from zoo.engine.evaluate import run_over
from zoo.engine.mixup import mix
from zoo.engine.optimizer import set_rate
from zoo.engine.processes import ALONE
from zoo.engine.schedule import rate_factor
from zoo.engine.step import Step
from zoo.errors import TrainingError
from zoo.events import EpochResult, StepResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import Tensor

    from zoo.contracts import Head
    from zoo.data.loader import Batch
    from zoo.engine.compilation import Compilation
    from zoo.engine.evaluate import Outputs
    from zoo.engine.memory import Parts
    from zoo.engine.precision import Precision
    from zoo.engine.processes import Processes
    from zoo.engine.step import Trained

# How often the loop looks at its own loss: each look waits for the device.
_SECONDS_BETWEEN_LOOKS = 0.5


class TrainBatches(Protocol):
    """What `fit` learns from: photos (`zoo.data.loader.TrainLoader`) or kept features."""

    @property
    def steps(self) -> int:
        """Batches an epoch."""

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yields the batches of an epoch, the same ones for the same number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the loop does, epoch by epoch; the fields are those of `zoo.config.FinetuneConfig`."""

    epochs: int
    lr: float
    schedule: str = "constant"
    warmup: float = 0.0
    clip_grad: float | None = None
    mixup: float = 0.0
    seed: int = 0

    def rate(self, step: int, *, steps: int) -> float:
        """Returns the learning rate at a step of all `steps`, counted from 0."""
        return self.lr * rate_factor(step, steps=steps, schedule=self.schedule, warmup=self.warmup)


@dataclass(slots=True)
class TrainState:
    """Where training stands at the end of an epoch; with the weights and the optimiser all that a resumption needs.

    Attributes:
        epoch: The last finished epoch; 0 before the first.
        best_accuracy: Highest validation accuracy so far.
        best_loss: Validation loss of that epoch.
    """

    epoch: int = 0
    best_accuracy: float = -1.0
    best_loss: float = float("inf")

    def improve(self, accuracy: float, loss: float) -> bool:
        """Takes note of an epoch; returns whether it is the best so far (of equal accuracies, the lower loss)."""
        better = (accuracy, -loss) > (self.best_accuracy, -self.best_loss)
        if better:
            self.best_accuracy, self.best_loss = accuracy, loss
        return better


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

    def read(self, processes: Processes = ALONE) -> tuple[float, float]:
        """Returns mean loss and accuracy so far, over the images of all processes. Waits for the device."""
        loss, hits, images = processes.total(*self._sums.tolist(), self.images)
        return loss / images, hits / images

    def rate(self) -> float:
        """Returns images a second so far."""
        return self.shared / max(1e-9, time.perf_counter() - self.started)


class Watch:
    """Looks at the training about twice a second: each look waits for the device.

    Of several processes each looks at its own images on the way, when its own clock says so; at an epoch's end they
    look together.
    """

    def __init__(self, plan: Plan, *, per_epoch: int, done: int, processes: Processes = ALONE) -> None:
        self._plan, self._per_epoch, self._first = plan, per_epoch, done
        self._processes = processes
        self._started = self._looked = time.perf_counter()

    def due(self, step: int) -> bool:
        """Returns whether to look after a step: now and then, and at an epoch's end."""
        return step == self._per_epoch or time.perf_counter() - self._looked > _SECONDS_BETWEEN_LOOKS

    def look(self, meter: Meter, *, epoch: int, step: int, rate: float) -> StepResult:
        """Returns what to tell of a step.

        Raises:
            TrainingError: The loss is no longer finite.
        """
        # Waits for the device: the user wants to see the loss, and NaN must stop the run.
        loss, accuracy = meter.read(self._processes if step == self._per_epoch else ALONE)
        self._looked = time.perf_counter()
        if not np.isfinite(loss):
            raise TrainingError(
                f"The loss became {loss} in epoch {epoch}, at or before step {step}, at a learning rate of {rate:.2g}.",
                hint="Lower --lr, raise --warmup, set --clip-grad 1, or use --precision fp32.",
            )
        done = (epoch - 1) * self._per_epoch + step
        left = self._plan.epochs * self._per_epoch - done
        return StepResult(
            epoch=epoch,
            step=step,
            steps=self._per_epoch,
            loss=loss,
            accuracy=float("nan") if self._plan.mixup else accuracy,
            images_per_second=meter.rate(),
            seconds_left=(self._looked - self._started) / (done - self._first) * left,
        )


def fit(
    network: Trained,
    train: TrainBatches,
    val: Iterable[Batch],
    *,
    optimizer: torch.optim.Optimizer,
    plan: Plan,
    precision: Precision,
    set_training: Callable[[], object],
    state: TrainState,
    average: torch.optim.swa_utils.AveragedModel | None = None,
    parts: Parts | None = None,
    compilation: Compilation | None = None,
    processes: Processes = ALONE,
    on_step: Callable[[StepResult], None] = lambda result: None,
) -> Iterator[EpochResult]:
    """Trains from the epoch after `state.epoch`; yields once an epoch, with the weights as they then are.

    Args:
        network: Trained in place, on the device of `precision`.
        train: What to learn from.
        val: Evaluated after each epoch.
        optimizer: Over groups that carry ``lr_scale``.
        plan: Epochs, rates, and what is done to batches and gradients.
        precision: Of forward passes.
        set_training: Puts the network into train mode, its frozen parts into eval mode.
        state: Brought up to date at each epoch's end, before the yield.
        average: Follows the weights step by step, and is evaluated in their place.
        parts: How many images the network is given at a time.
        compilation: Calls the network, compiled or not.
        processes: Those that train together; `train` and `val` give each its share.
        on_step: Called about twice a second.

    Raises:
        TrainingError: The loss is no longer finite; the message names epoch, step and rate. Or memory is too small.
    """
    take_step = Step(
        network,
        optimizer,
        precision=precision,
        clip_grad=plan.clip_grad,
        parts=parts,
        compilation=compilation,
        processes=processes,
    )
    per_epoch, first = train.steps, state.epoch * train.steps
    watch = Watch(plan, per_epoch=per_epoch, done=first, processes=processes)
    for epoch in range(state.epoch + 1, plan.epochs + 1):
        meter = Meter(precision.device)
        set_training()
        for step, batch in enumerate(train.epoch(epoch), start=1):
            done = (epoch - 1) * per_epoch + step
            rate = plan.rate(done - 1, steps=plan.epochs * per_epoch)
            set_rate(optimizer, rate)
            loss, logits = take_step(mix(batch, alpha=plan.mixup, draw=(plan.seed, done)))
            if average is not None:
                average.update_parameters(network)  # type: ignore[arg-type]
            meter.add(loss, logits, batch.labels, share=batch.share)
            if watch.due(step):
                told = watch.look(meter, epoch=epoch, step=step, rate=rate)
                on_step(told)
                take_step.compilation.consider(seconds_left=told.seconds_left, steps=done - first)
        evaluated: Any = network if average is None else average.module
        processes.share(evaluated, buffers_alone=True)  # statistics of batch normalisation follow the images of each
        outputs = run_over(evaluated, val, precision, parts=parts, processes=processes)
        state.epoch = epoch
        yield _epoch_result(told, rate, outputs, state, network.head, meter)


def _epoch_result(
    told: StepResult, rate: float, outputs: Outputs, state: TrainState, head: Head, meter: Meter
) -> EpochResult:
    val_loss, val_accuracy = outputs.loss(head), outputs.accuracy()
    return EpochResult(
        epoch=told.epoch,
        train_loss=told.loss,
        train_accuracy=told.accuracy,
        val_loss=val_loss,
        val_accuracy=val_accuracy,
        learning_rate=rate,
        seconds=time.perf_counter() - meter.started,
        images_per_second=told.images_per_second,
        best=state.improve(val_accuracy, val_loss),
    )
