"""One training step: forward, loss, backward and the update of the weights."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import Tensor, nn

from zoo.errors import PluginError
from zoo.models.finite import find_source
from zoo.models.random_state import set_torch_states, torch_states
from zoo.training.compilation import Compilation
from zoo.training.distributed.ddp import gradient_sync, wrap_ddp
from zoo.training.distributed.process_group import SINGLE_PROCESS
from zoo.training.finite import check_first_loss
from zoo.training.micro_batches import Attempt, MicroBatches
from zoo.training.step_batches import FullBatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.nn.parallel import DistributedDataParallel

    from zoo.models.precision import Precision
    from zoo.plugins.contracts import Head
    from zoo.training.distributed.process_group import ProcessGroup
    from zoo.training.mixing import MixedBatch


class TrainableNetwork(Protocol):
    """A network with a head: `zoo.models.classifier.Classifier`, or a head on cached features."""

    head: Head

    def __call__(self, images: Any) -> Tensor:
        """Returns logits."""


class Step:
    """Takes training steps: `step(batch)` updates the weights once. `SearchStep` is for optimizers that need a closure.

    Micro-batches give the gradient of the whole batch, up to rounding: the mean loss of each is weighted by its share
    of the images. (Batch normalisations that are not frozen see one micro-batch at a time.)

    Args:
        network: The network, on the device of `precision`.
        optimizer: The optimizer of its parameters.
        precision: The precision of forward passes.
        clip_grad: Largest norm of the gradient of a step; None for no limit.
        micro_batches: How many images the network processes at a time; when memory runs out, they are halved and the
            step is repeated.
        compilation: Calls the network, compiled or not.
        scaler: Scales the loss; by default as `precision` needs.
        processes: The processes that take the step together, each on its share of the images. With several, running out
            of memory is an error: the other processes would not repeat the step.
    """

    def __init__(
        self,
        network: TrainableNetwork,
        optimizer: torch.optim.Optimizer,
        *,
        precision: Precision,
        clip_grad: float | None = None,
        micro_batches: MicroBatches | None = None,
        compilation: Compilation | None = None,
        scaler: torch.amp.GradScaler | None = None,
        processes: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        self.network = network
        self.optimizer = optimizer
        self.precision = precision
        self.clip_grad = clip_grad
        self.micro_batches = micro_batches or MicroBatches()
        self.compilation = compilation or Compilation("no", precision.device)
        self.scaler = scaler or precision.loss_scaler()
        self.processes = processes
        self.gradient_norm: Tensor | None = None  # of the last step, on the device; None in fp16, which skips steps
        self._is_first = True
        self._ddp: DistributedDataParallel | None = None
        modules = network.modules() if isinstance(network, nn.Module) else ()
        self._with_buffers = [module for module in modules if any(True for _ in module.buffers(recurse=False))]

    def __call__(self, batch: MixedBatch | FullBatch) -> tuple[Tensor, Tensor]:
        """Takes a step; repeats it with smaller micro-batches if memory runs out before the update.

        Returns:
            The mean loss of the batch ``()`` and the logits ``(N, classes)``, both detached, on the device.
        """
        if not self.processes.is_single:
            return self._take(self._data_parallel(batch), batch, Attempt())
        before = self._snapshot()
        for attempt in self.micro_batches.attempts(batch.images_at_once, undo=before.restore):
            with attempt:
                return self._take(self.network, batch, attempt)
        raise AssertionError("unreachable: attempts() ends with a result or an error")

    def _take(
        self, network: Callable[[Any], Tensor], batch: MixedBatch | FullBatch, attempt: Attempt
    ) -> tuple[Tensor, Tensor]:
        total, logits = self._backward(network, batch)
        attempt.commit()  # from here on the weights change
        self._is_first = False
        norm = self._clip_gradient()
        self.gradient_norm = None if self.scaler.is_enabled() else norm
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return total, logits

    def _backward(self, network: Callable[[Any], Tensor], batch: MixedBatch | FullBatch) -> tuple[Tensor, Tensor]:
        """Computes the gradient; returns the mean loss of the batch and the logits."""
        total, outputs = torch.zeros((), device=self.precision.device), []
        self.optimizer.zero_grad(set_to_none=True)
        # Gradients add up over micro-batches, but are averaged over processes: the count of these makes that a sum.
        for part in batch.parts():
            share = part.share / batch.share
            for where in self.micro_batches.split(len(part.labels)):
                micro_batch = part.select(where)
                with gradient_sync(network, last=where.stop == len(part.labels)):
                    with self.precision.autocast():
                        logits = self.compilation(network, micro_batch.images, count=len(micro_batch.labels))
                    _check_logits(logits, count=len(micro_batch.labels))
                    loss = micro_batch.loss(self.network.head, logits)
                    if self._is_first:  # waits for the device, once
                        check_first_loss(loss, partial(self._locate, micro_batch.images))
                    self.scaler.scale(loss * (micro_batch.share * self.processes.count)).backward()
                total += loss.detach() * (len(micro_batch.labels) / len(part.labels) * share)
                outputs.append(logits.detach())
        return total, torch.cat(outputs)

    def _snapshot(self) -> _Snapshot:
        return _Snapshot(self._with_buffers, self.precision.device)

    def _locate(self, images: Any) -> str:
        if not self.processes.is_single or not isinstance(self.network, nn.Module):
            return ""  # a forward pass in train mode exchanges statistics with the other processes
        with self.precision.autocast():
            return find_source(self.network, images)

    def _clip_gradient(self) -> Tensor:
        """Returns the norm of the gradient before it was clipped, if it has to be."""
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        if self.clip_grad is not None:
            self.scaler.unscale_(self.optimizer)
            return nn.utils.clip_grad_norm_(parameters, self.clip_grad)
        return nn.utils.get_total_norm([each.grad for each in parameters if each.grad is not None])

    def _data_parallel(self, batch: MixedBatch | FullBatch) -> DistributedDataParallel:
        if self._ddp is None:
            assert isinstance(self.network, nn.Module)
            assert not isinstance(batch, FullBatch), "several processes share no full batch (zoo.training.prepare)"
            self._ddp = wrap_ddp(self.network, batch, self.precision)
        return self._ddp


class SearchStep(Step):
    """Takes steps of optimizers that need a closure, in a single process.

    Each evaluation sees the same images, draws the same dropout and starts with the same batch-norm statistics, so that
    losses can be compared. Loss, logits and gradient norm are those of the first one.
    """

    def __call__(self, batch: MixedBatch | FullBatch) -> tuple[Tensor, Tensor]:
        """Takes a step; an evaluation is repeated with smaller micro-batches if memory runs out.

        Returns:
            As for `Step`.

        Raises:
            PluginError: The optimizer never calls its closure.
        """
        before, first = self._snapshot(), list[tuple[Tensor, Tensor]]()

        def evaluate() -> Tensor:
            for attempt in self.micro_batches.attempts(batch.images_at_once):
                with attempt:
                    before.restore()
                    loss, logits = self._backward(self.network, batch)
                    if not first:
                        self._is_first = False
                        self.gradient_norm = self._clip_gradient()
                        first.append((loss, logits))
                    return loss
            raise AssertionError("unreachable: attempts() ends with a result or an error")

        self.optimizer.step(cast("Callable[[], float]", evaluate))  # torch's own optimizers expect a tensor
        if not first:
            raise PluginError(
                f"The optimizer {type(self.optimizer).__name__} took a step without calling its closure.",
                hint="Its OptimizerSpec says that it needs one: closure=True.",
            )
        return first[0]


def _check_logits(logits: Tensor, *, count: int) -> None:
    if logits.ndim != 2 or len(logits) != count:
        raise PluginError(f"For {count} images the head returned logits {tuple(logits.shape)}, not ({count}, classes).")


class _Snapshot:
    """The state that a forward pass changes, as it was before: random generators and batch-norm statistics."""

    def __init__(self, modules: list[nn.Module], device: torch.device) -> None:
        self._device = device
        self._random = torch_states(device)  # stored on the host: reading them does not wait for the device
        self._buffers = [buffer for module in modules if module.training for buffer in module.buffers(recurse=False)]
        self._values = [buffer.clone() for buffer in self._buffers]

    @torch.no_grad()
    def restore(self) -> None:
        set_torch_states(self._random, self._device)
        for buffer, value in zip(self._buffers, self._values, strict=True):
            buffer.copy_(value)
