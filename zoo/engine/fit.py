"""The training loop: a generator of `EpochResult`, read from top to bottom."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from zoo.engine.evaluate import run_over
from zoo.engine.optimizer import set_rate
from zoo.engine.schedule import rate_factor
from zoo.errors import TrainingError
from zoo.events import EpochResult, StepResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from zoo.contracts import Head
    from zoo.data.loader import Batch
    from zoo.engine.precision import Precision

# How often the loop looks at its own loss: each look waits for the device.
_SECONDS_BETWEEN_LOOKS = 0.5


class TrainBatches(Protocol):
    """What `fit` learns from: photos (`zoo.data.loader.TrainLoader`) or kept features."""

    @property
    def steps(self) -> int:
        """Batches an epoch."""

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yields the batches of an epoch, the same ones for the same number."""


class Trained(Protocol):
    """What `fit` trains: a network with a head, `zoo.model.Classifier` or `zoo.engine.features.OnFeatures`."""

    head: Head

    def __call__(self, images: Any) -> Tensor:
        """Returns logits."""


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
    """Sums loss and hits on the device, so that the loop need not wait for it at every step."""

    def __init__(self, device: torch.device) -> None:
        self._sums = torch.zeros(2, dtype=torch.float32, device=device)
        self.images = 0
        self.started = time.perf_counter()

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Takes in one batch."""
        hits = (logits.detach().argmax(dim=1) == labels).sum()
        self._sums += torch.stack([loss.detach() * len(labels), hits])
        self.images += len(labels)

    def read(self) -> tuple[float, float]:
        """Returns mean loss and accuracy so far. Waits for the device."""
        loss, hits = self._sums.tolist()
        return loss / self.images, hits / self.images

    def rate(self) -> float:
        """Returns images a second so far."""
        return self.images / max(1e-9, time.perf_counter() - self.started)


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
        on_step: Called about twice a second.

    Raises:
        TrainingError: The loss is no longer finite; the message names epoch, step and rate.
    """
    scaler = torch.amp.GradScaler(precision.device.type, enabled=precision.scales_loss)
    per_epoch = train.steps
    steps = plan.epochs * per_epoch
    started, first = time.perf_counter(), state.epoch * per_epoch
    for epoch in range(state.epoch + 1, plan.epochs + 1):
        meter, looked, rate = Meter(precision.device), time.perf_counter(), 0.0
        set_training()
        for step, batch in enumerate(train.epoch(epoch), start=1):
            done = (epoch - 1) * per_epoch + step
            rate = plan.lr * rate_factor(done - 1, steps=steps, schedule=plan.schedule, warmup=plan.warmup)
            set_rate(optimizer, rate)
            images, others, share = _mix(batch, plan, done)
            with precision.autocast():
                logits = network(images)
            loss = network.head.loss(logits, batch.labels)
            if others is not None:
                loss = loss.lerp(network.head.loss(logits, others), 1 - share)
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            if plan.clip_grad is not None:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(_learning(optimizer), plan.clip_grad)
            scaler.step(optimizer)
            scaler.update()
            if average is not None:
                average.update_parameters(network)  # type: ignore[arg-type]
            meter.add(loss, logits, batch.labels)
            if time.perf_counter() - looked > _SECONDS_BETWEEN_LOOKS or step == per_epoch:
                mean, accuracy = _look(meter, epoch=epoch, step=step, rate=rate)
                looked = time.perf_counter()
                on_step(
                    StepResult(
                        epoch=epoch,
                        step=step,
                        steps=per_epoch,
                        loss=mean,
                        accuracy=float("nan") if plan.mixup else accuracy,
                        images_per_second=meter.rate(),
                        seconds_left=(looked - started) / (done - first) * (steps - done),
                    )
                )
        speed = meter.rate()
        evaluated = network if average is None else average.module
        outputs = run_over(evaluated, val, precision)  # type: ignore[arg-type]
        val_loss, val_accuracy = outputs.loss(network.head), outputs.accuracy()
        state.epoch = epoch
        yield EpochResult(
            epoch=epoch,
            train_loss=mean,
            train_accuracy=float("nan") if plan.mixup else accuracy,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            learning_rate=rate,
            seconds=time.perf_counter() - meter.started,
            images_per_second=speed,
            best=state.improve(val_accuracy, val_loss),
        )


def _look(meter: Meter, *, epoch: int, step: int, rate: float) -> tuple[float, float]:
    loss, accuracy = meter.read()  # waits for the device: the user wants to see the loss, and NaN must stop the run
    if not np.isfinite(loss):
        raise TrainingError(
            f"The loss became {loss} in epoch {epoch}, at or before step {step}, at a learning rate of {rate:.2g}.",
            hint="Lower --lr, raise --warmup, set --clip-grad 1, or use --precision fp32.",
        )
    return loss, accuracy


def _mix(batch: Batch, plan: Plan, step: int) -> tuple[Any, Tensor | None, float]:
    """Mixes each image with another of the batch (Zhang et al. 2018, https://arxiv.org/abs/1710.09412).

    Returns:
        The images, the labels of those mixed in (None without mixup), and the share of the batch's own images.
    """
    if not plan.mixup:
        return batch.images, None, 1.0
    random = np.random.default_rng([plan.seed, step])
    share = float(random.beta(plan.mixup, plan.mixup))
    other = torch.from_numpy(random.permutation(len(batch.labels))).to(batch.labels.device)
    return _lerp(batch.images, other, 1 - share), batch.labels[other], share


def _lerp(images: Any, other: Tensor, share: float) -> Any:
    if isinstance(images, Tensor):
        return images.lerp(images[other], share)
    return type(images)(*(_lerp(each, other, share) for each in images))  # kept features: the same for each of them


def _learning(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
