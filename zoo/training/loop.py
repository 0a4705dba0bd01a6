"""The training loop: a generator of `EpochResult` that reads from top to bottom."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from zoo.events import EpochResult, StepResult
from zoo.training.distributed.process_group import SINGLE_PROCESS
from zoo.training.finite import check_loss, check_scale, check_val_loss, check_weights, locate_failure
from zoo.training.forward import compute_outputs, evaluating
from zoo.training.mixing import mix
from zoo.training.monitor import Monitor
from zoo.training.optimizer import OptimizerTraits, set_rate, switch_weights
from zoo.training.schedule import constant_rate
from zoo.training.state import Meter
from zoo.training.step import SearchStep, Step
from zoo.training.step_batches import FullBatches, MixedBatches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import torch
    from torch import nn

    from zoo.config import FinetuneConfig
    from zoo.data.loading.augmenters import Mixer
    from zoo.data.loading.loader import Batch
    from zoo.models.precision import Precision
    from zoo.training.compilation import Compilation
    from zoo.training.distributed.process_group import ProcessGroup
    from zoo.training.ema import WeightAverage
    from zoo.training.finite import StepLog
    from zoo.training.forward import Outputs
    from zoo.training.micro_batches import MicroBatches
    from zoo.training.mixing import MixedBatch
    from zoo.training.schedule import RateFactor
    from zoo.training.state import TrainState
    from zoo.training.step import TrainableNetwork
    from zoo.training.step_batches import TrainBatches

_SECONDS_BETWEEN_REPORTS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to train, epoch by epoch; other fields than `factor` are those of `zoo.config.FinetuneConfig`.

    Attributes:
        factor: Returns the factor on the learning rate at a step (`zoo.training.schedule`).
    """

    epochs: int
    lr: float
    factor: RateFactor = constant_rate
    clip_grad: float | None = None
    patience: int | None = None
    seed: int = 0

    @classmethod
    def from_config(cls, config: FinetuneConfig, factor: RateFactor) -> Plan:
        """Returns the plan that a configuration describes, with its schedule."""
        return cls(
            epochs=config.epochs,
            lr=config.lr,
            factor=factor,
            clip_grad=config.clip_grad,
            patience=config.patience,
            seed=config.seed,
        )

    def is_over(self, state: TrainState) -> bool:
        """Returns whether training ends early, because the monitored value did not improve."""
        return self.patience is not None and state.step == 0 and state.stale_epochs >= self.patience

    def rate(self, epoch: int, step: int, *, steps: int) -> float:
        """Returns the learning rate at a step.

        Args:
            epoch: Counted from 1.
            step: Counted from 1 within the epoch.
            steps: Steps per epoch.
        """
        done = (epoch - 1) * steps + step - 1
        return self.lr * self.factor(done, self.epochs * steps)


class ProgressMonitor:
    """Reports the progress of a training about twice a second: every report waits for the device.

    With several processes, each reports on its own images within an epoch, at its own pace; at the end of an epoch all
    report together on the images of all.

    Args:
        plan: The plan of the training.
        steps: Steps per epoch.
        done: Steps already taken, over all epochs.
        compilation: Decides by the time left whether to compile the network.
        processes: The processes that train together.
        mixes: Whether images are mixed with each other, so that their labels have no accuracy.
        on_step: Called with each report.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        steps: int,
        done: int,
        compilation: Compilation,
        processes: ProcessGroup,
        mixes: bool,
        on_step: Callable[[StepResult], None],
    ) -> None:
        self._plan, self._steps, self._first, self._mixes = plan, steps, done, mixes
        self._compilation, self._processes, self._on_step = compilation, processes, on_step
        self._started = self._reported = time.perf_counter()

    def is_due(self, step: int) -> bool:
        """Returns whether to report after a step, counted from 1 within its epoch; the last one is reported anyway."""
        return step < self._steps and time.perf_counter() - self._reported > _SECONDS_BETWEEN_REPORTS

    def report(self, meter: Meter, log: StepLog, *, epoch: int, step: int) -> StepResult:
        """Reports on the epoch so far, and returns the report.

        Raises:
            DivergedError: A loss or a gradient is not finite.
        """
        # Waits for the device: the user wants to see the loss, and NaN must end the run.
        log.check(epoch=epoch)
        loss, accuracy = meter.read(self._processes if step == self._steps else SINGLE_PROCESS)
        self._reported = time.perf_counter()
        check_loss(loss, epoch=epoch, step=step, rate=self._plan.rate(epoch, step, steps=self._steps))
        done = (epoch - 1) * self._steps + step
        taken, left = done - self._first, self._plan.epochs * self._steps - done
        result = StepResult(
            epoch=epoch,
            step=step,
            steps=self._steps,
            loss=loss,
            accuracy=float("nan") if self._mixes else accuracy,
            images_per_second=meter.rate(),
            # A run that resumes between the last step of an epoch and its evaluation has taken no step yet.
            seconds_left=(self._reported - self._started) / max(1, taken) * left,
        )
        self._on_step(result)
        self._compilation.decide(seconds_left=result.seconds_left, steps=taken)
        return result


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
    traits: OptimizerTraits | None = None,
    mixers: Sequence[Mixer] = (),
    classes: int = 0,
    average: WeightAverage | None = None,
    micro_batches: MicroBatches | None = None,
    compilation: Compilation | None = None,
    processes: ProcessGroup = SINGLE_PROCESS,
    monitor: Monitor | None = None,
    on_step: Callable[[StepResult], None] = lambda result: None,
    safe_point: Callable[[], None] = lambda: None,
) -> Iterator[EpochResult]:
    """Continues training from `state`; yields after every epoch, while the weights are those of that epoch.

    Args:
        network: Trained in place, on the device of `precision`.
        train: The training batches.
        val: The validation batches, evaluated after every epoch.
        optimizer: Its parameter groups have an ``lr_scale``.
        plan: Epochs, learning rates, and what to do to batches and gradients.
        precision: The precision of forward passes.
        set_training: Puts the network into train mode, its frozen parts into eval mode.
        state: Updated at every step, and at the end of every epoch before the result is yielded.
        traits: Whether the optimizer needs a closure, takes full batches or averages the weights.
        mixers: Augmentations that mix the images of a batch and their targets.
        classes: Number of classes; needed by `mixers`.
        average: Updated at every step, and evaluated in place of the network.
        micro_batches: How many images the network processes at a time.
        compilation: Calls the network, compiled or not.
        processes: The processes that train together; `train` and `val` yield the share of each.
        monitor: Measures every epoch, and decides which is the best; by default, loss and accuracy do.
        on_step: Called about twice a second.
        safe_point: Called wherever the state is complete, so that it can be saved or the training be stopped: after
            every step and, in a single process, between the batches of an evaluation.

    Raises:
        DivergedError: A loss, a gradient or a weight is not finite; the message names epoch, step and learning rate.
        TrainingError: The loss of the very first step is not finite, or the memory is too small.
        PluginError: The monitored metric failed.
    """
    traits = traits or OptimizerTraits()

    def mixed(batch: Batch, number: int) -> MixedBatch:
        return mix(batch, mixers, classes=classes, seed=plan.seed, step=number)

    batches = (FullBatches if traits.full_batch else MixedBatches)(train, mix=mixed)
    take_step = (SearchStep if traits.closure else Step)(
        network,
        optimizer,
        precision=precision,
        clip_grad=plan.clip_grad,
        micro_batches=micro_batches,
        compilation=compilation,
        scaler=state.scaler,
        processes=processes,
    )
    steps, monitor = batches.steps, monitor or Monitor()
    progress = ProgressMonitor(
        plan,
        steps=steps,
        done=state.epoch * steps + state.step,
        compilation=take_step.compilation,
        processes=processes,
        mixes=bool(mixers),
        on_step=on_step,
    )
    evaluated: Any = network if average is None else average.module
    for epoch in range(state.epoch + 1, plan.epochs + 1):
        if plan.is_over(state):
            return
        meter = state.meter = state.meter or Meter(precision.device)
        set_training()
        if traits.averages and state.step < steps:
            switch_weights(optimizer, averaged=False)
        for step, batch in enumerate(batches.epoch(epoch, start=state.step), start=state.step + 1):
            rate = plan.rate(epoch, step, steps=steps)
            set_rate(optimizer, rate)
            loss, logits = take_step(batch)
            if average is not None:
                average.update_parameters(network)  # type: ignore[arg-type]
            meter.add(loss, logits, batch.labels, share=batch.share)
            state.log.add(step, rate=rate, loss=loss, norm=take_step.gradient_norm)
            state.step = step
            if progress.is_due(step):
                progress.report(meter, state.log, epoch=epoch, step=step)
            safe_point()
        trained, rate = progress.report(meter, state.log, epoch=epoch, step=steps), plan.rate(epoch, steps, steps=steps)
        check_scale(take_step.scaler, epoch=epoch, step=steps)
        check_weights(network, epoch=epoch, step=steps, rate=rate)  # type: ignore[arg-type]
        if average is not None:
            check_weights(evaluated, epoch=epoch, step=steps, rate=rate, what="averaged weights")
        if traits.averages:
            switch_weights(optimizer, averaged=True)
        outputs = _evaluate(evaluated, val, precision, micro_batches, processes, safe_point)
        val_loss = outputs.loss(evaluated.head)
        locate = partial(_locate_in_validation, evaluated, val, precision)
        check_val_loss(val_loss, outputs.logits, epoch=epoch, rate=rate, locate=locate)
        measured = monitor.measure(outputs, evaluated.head, loss=val_loss)
        state.finish_epoch()
        yield EpochResult(
            epoch=epoch,
            train_loss=trained.loss,
            train_accuracy=trained.accuracy,
            val_loss=val_loss,
            val_accuracy=measured.accuracy,
            learning_rate=rate,
            seconds=time.perf_counter() - meter.started,
            images_per_second=trained.images_per_second,
            best=state.improve(measured.quality, val_loss, measured.losses, score=measured.score),
            metrics=measured.metrics,
        )


def _evaluate(
    network: Any,
    val: Iterable[Batch],
    precision: Precision,
    micro_batches: MicroBatches | None,
    processes: ProcessGroup,
    safe_point: Callable[[], None],
) -> Outputs:
    """Returns the outputs for the validation photos of all processes; the arguments are those of `fit`."""
    # The statistics of batch normalisations depend on the images of each process.
    processes.sync_module(network, buffers_only=True)
    batches = _with_safe_points(val, safe_point) if processes.is_single else val
    return compute_outputs(network, batches, precision, micro_batches=micro_batches, processes=processes)


def _locate_in_validation(network: nn.Module, val: Iterable[Batch], precision: Precision) -> str:
    with evaluating(network):
        return locate_failure(network, val, precision)


def _with_safe_points(batches: Iterable[Batch], safe_point: Callable[[], None]) -> Iterator[Batch]:
    for batch in batches:
        yield batch
        safe_point()
