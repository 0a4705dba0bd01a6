"""The training loop: a generator of `EpochResult`, read from top to bottom."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from zoo.events import EpochResult, StepResult
from zoo.training.distributed.process_group import SINGLE_PROCESS
from zoo.training.finite import check_loss, check_weights
from zoo.training.forward import compute_outputs
from zoo.training.mixup import mix
from zoo.training.optimizer import rate_factor, set_rate
from zoo.training.state import Meter
from zoo.training.step import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import torch

    from zoo.config import FinetuneConfig
    from zoo.data.loading.loader import Batch
    from zoo.models.precision import Precision
    from zoo.plugins.contracts import Head
    from zoo.training.compilation import Compilation
    from zoo.training.distributed.process_group import ProcessGroup
    from zoo.training.ema import WeightAverage
    from zoo.training.forward import Outputs
    from zoo.training.micro_batches import MicroBatches
    from zoo.training.state import TrainState
    from zoo.training.step import TrainableNetwork

# How often the loop looks at its own loss: each look waits for the device.
_SECONDS_BETWEEN_LOOKS = 0.5


class TrainBatches(Protocol):
    """What `fit` learns from: photos (`zoo.data.loading.loader.TrainLoader`) or kept features."""

    @property
    def steps(self) -> int:
        """Batches an epoch."""

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """Yields the batches of an epoch from step `start`, counted from 0: the same ones for the same numbers."""


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

    @classmethod
    def from_config(cls, config: FinetuneConfig) -> Plan:
        """Returns the plan that a configuration describes."""
        return cls(
            epochs=config.epochs,
            lr=config.lr,
            schedule=config.schedule,
            warmup=config.warmup,
            clip_grad=config.clip_grad,
            mixup=config.mixup,
            seed=config.seed,
        )

    def rate(self, step: int, *, steps: int) -> float:
        """Returns the learning rate at a step of all `steps`, counted from 0."""
        return self.lr * rate_factor(step, steps=steps, schedule=self.schedule, warmup=self.warmup)


class ProgressMonitor:
    """Looks at the training about twice a second: each look waits for the device.

    Of several processes each looks at its own images on the way, when its own clock says so; at an epoch's end they
    look together.
    """

    def __init__(self, plan: Plan, *, per_epoch: int, done: int, processes: ProcessGroup = SINGLE_PROCESS) -> None:
        self._plan, self._per_epoch, self._first = plan, per_epoch, done
        self._processes = processes
        self._started = self._looked = time.perf_counter()

    def due(self, step: int) -> bool:
        """Returns whether to look after a step of an epoch; after its last one `look` is called anyway."""
        return step < self._per_epoch and time.perf_counter() - self._looked > _SECONDS_BETWEEN_LOOKS

    def rate(self, epoch: int, step: int) -> float:
        """Returns the learning rate at a step, counted from 1 within its epoch."""
        return self._plan.rate((epoch - 1) * self._per_epoch + step - 1, steps=self._plan.epochs * self._per_epoch)

    def look(self, meter: Meter, *, epoch: int, step: int) -> StepResult:
        """Returns what to tell of a step.

        Raises:
            TrainingError: The loss is no longer finite.
        """
        # Waits for the device: the user wants to see the loss, and NaN must stop the run.
        loss, accuracy = meter.read(self._processes if step == self._per_epoch else SINGLE_PROCESS)
        self._looked = time.perf_counter()
        check_loss(loss, epoch=epoch, step=step, rate=self.rate(epoch, step))
        done = (epoch - 1) * self._per_epoch + step
        left = self._plan.epochs * self._per_epoch - done
        return StepResult(
            epoch=epoch,
            step=step,
            steps=self._per_epoch,
            loss=loss,
            accuracy=float("nan") if self._plan.mixup else accuracy,
            images_per_second=meter.rate(),
            # Where it goes on at the end of an epoch's steps, none was taken yet.
            seconds_left=(self._looked - self._started) / max(1, done - self._first) * left,
        )


def fit(
    network: TrainableNetwork,
    train: TrainBatches,
    val: Iterable[Batch],
    *,
    optimizer: torch.optim.Optimizer,
    plan: Plan,
    precision: Precision,
    set_training: Callable[[], object],
    state: TrainState,
    average: WeightAverage | None = None,
    micro_batches: MicroBatches | None = None,
    compilation: Compilation | None = None,
    processes: ProcessGroup = SINGLE_PROCESS,
    on_step: Callable[[StepResult], None] = lambda result: None,
    safe_point: Callable[[], None] = lambda: None,
) -> Iterator[EpochResult]:
    """Trains on from where `state` stands; yields once an epoch, with the weights as they then are.

    Args:
        network: TrainableNetwork in place, on the device of `precision`.
        train: What to learn from.
        val: Evaluated after each epoch.
        optimizer: Over groups that carry ``lr_scale``.
        plan: Epochs, rates, and what is done to batches and gradients.
        precision: Of forward passes.
        set_training: Puts the network into train mode, its frozen parts into eval mode.
        state: Brought up to date at each step, and at each epoch's end, before the yield.
        average: Follows the weights step by step, and is evaluated in their place.
        micro_batches: How many images the network is given at a time.
        compilation: Calls the network, compiled or not.
        processes: Those that train together; `train` and `val` give each its share.
        on_step: Called about twice a second.
        safe_point: Called where nothing is half done, so that all can be saved or left: after each step, and of a single
            process between the batches of an evaluation.

    Raises:
        TrainingError: Loss or weights are no longer finite; the message names epoch, step and rate. Or memory is too
            small.
    """
    take_step = Step(
        network,
        optimizer,
        precision=precision,
        clip_grad=plan.clip_grad,
        micro_batches=micro_batches,
        compilation=compilation,
        scaler=state.scaler,
        processes=processes,
    )
    per_epoch, first = train.steps, state.epoch * train.steps + state.step
    watch = ProgressMonitor(plan, per_epoch=per_epoch, done=first, processes=processes)
    evaluated: Any = network if average is None else average.module
    for epoch in range(state.epoch + 1, plan.epochs + 1):
        meter = state.meter = state.meter or Meter(precision.device)
        set_training()
        for step, batch in enumerate(train.epoch(epoch, start=state.step), start=state.step + 1):
            done = (epoch - 1) * per_epoch + step
            set_rate(optimizer, watch.rate(epoch, step))
            loss, logits = take_step(mix(batch, alpha=plan.mixup, draw=(plan.seed, done)))
            if average is not None:
                average.update_parameters(network)  # type: ignore[arg-type]
            meter.add(loss, logits, batch.labels, share=batch.share)
            state.step = step
            if watch.due(step):
                on_step(told := watch.look(meter, epoch=epoch, step=step))
                take_step.compilation.consider(seconds_left=told.seconds_left, steps=done - first)
            safe_point()
        on_step(told := watch.look(meter, epoch=epoch, step=per_epoch))
        take_step.compilation.consider(seconds_left=told.seconds_left, steps=epoch * per_epoch - first)
        check_weights(evaluated, epoch=epoch, step=per_epoch, rate=watch.rate(epoch, per_epoch))
        processes.sync_module(
            evaluated, buffers_only=True
        )  # statistics of batch normalisation follow the images of each
        outputs = compute_outputs(
            evaluated,
            _resting(val, safe_point) if processes.is_single else val,
            precision,
            micro_batches=micro_batches,
            processes=processes,
        )
        state.finish_epoch()
        yield _epoch_result(told, watch.rate(epoch, per_epoch), outputs, state, evaluated.head, meter)


def _resting(batches: Iterable[Batch], safe_point: Callable[[], None]) -> Iterator[Batch]:
    for batch in batches:
        yield batch
        safe_point()


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
