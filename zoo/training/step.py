"""One step of an optimiser: forward and backward over a batch, whole or in parts, and the update."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from zoo.errors import PluginError
from zoo.training.compilation import Compilation
from zoo.training.distributed.ddp import gradient_sync, wrap_ddp
from zoo.training.distributed.process_group import SINGLE_PROCESS
from zoo.training.micro_batches import MicroBatches
from zoo.training.random_state import set_torch_states, torch_states

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.nn.parallel import DistributedDataParallel

    from zoo.models.precision import Precision
    from zoo.plugins.contracts import Head
    from zoo.training.distributed.process_group import ProcessGroup
    from zoo.training.mixup import Mixed


class TrainableNetwork(Protocol):
    """What is trained: a network with a head, `zoo.models.classifier.Classifier` or `zoo.training.frozen.features.HeadOnFeatures`."""

    head: Head

    def __call__(self, images: Any) -> Tensor:
        """Returns logits."""


class Step:
    """Takes steps: `step(batch)` changes the weights once.

    A batch in parts gives the gradient of the whole batch, to rounding: each part's mean loss counts with its share of
    the images. (Statistics of batch normalisation that still learns are those of the parts.)

    Args:
        network: On the device of `precision`.
        optimizer: Of its parameters.
        precision: Of forward passes.
        clip_grad: Largest norm of a step's gradient; None: unlimited.
        micro_batches: How many images at a time; halved when memory runs out, and the step is then taken anew.
        compilation: Calls the network, compiled or not.
        scaler: Of the loss; the one that `precision` asks for by default.
        processes: Those that take the step together, each on its share of the images. Memory that runs out is then an
            error: the others could not know that the step is taken anew.
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
        modules = network.modules() if isinstance(network, nn.Module) else ()
        self.processes = processes
        self._parallel: DistributedDataParallel | None = None
        self._with_buffers = [module for module in modules if any(True for _ in module.buffers(recurse=False))]
        self._scaler = scaler or precision.loss_scaler()

    def __call__(self, batch: Mixed) -> tuple[Tensor, Tensor]:
        """Takes a step.

        Returns:
            The mean loss of the batch ``()`` and the logits ``(N, classes)``, both without a graph, on the device.
        """
        if self.processes.is_single:
            before = _Before(self._with_buffers, self.precision.device)
            loss, logits = self.micro_batches.run(
                lambda: self._accumulate(self.network, batch), count=len(batch.labels), again=before.restore
            )
        else:
            loss, logits = self._accumulate(self._in_parallel(batch), batch)
        self._update()
        return loss, logits

    def _accumulate(self, network: Callable[[Any], Tensor], batch: Mixed) -> tuple[Tensor, Tensor]:
        """Leaves the gradient of the step, scaled for fp16, in the parameters."""
        self.optimizer.zero_grad(set_to_none=True)
        loss, logits = torch.zeros((), device=self.precision.device), []
        for where in self.micro_batches.split(len(batch.labels)):
            part = batch.part(where)
            with gradient_sync(network, last=where.stop == len(batch.labels)):
                with self.precision.autocast():
                    said = self.compilation(network, part.images, count=len(part.labels))
                _check_logits(said, count=len(part.labels))
                mean = part.loss(self.network.head, said)
                # Gradients add up, part by part; over processes their mean is taken, where the sum is meant.
                self._scaler.scale(mean * (part.share * self.processes.count)).backward()
            loss += mean.detach() * (len(part.labels) / len(batch.labels))
            logits.append(said.detach())
        return loss, torch.cat(logits)

    def _in_parallel(self, batch: Mixed) -> DistributedDataParallel:
        if self._parallel is None:
            assert isinstance(self.network, nn.Module)
            self._parallel = wrap_ddp(self.network, batch, self.precision)
        return self._parallel

    def _update(self) -> None:
        if self.clip_grad is not None:
            self._scaler.unscale_(self.optimizer)
            learning = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
            nn.utils.clip_grad_norm_(learning, self.clip_grad)
        self._scaler.step(self.optimizer)
        self._scaler.update()


def _check_logits(logits: Tensor, *, count: int) -> None:
    if logits.ndim != 2 or len(logits) != count:
        raise PluginError(f"Of {count} images the head made logits {tuple(logits.shape)}, not ({count}, classes).")


class _Before:
    """What a forward pass changes, as it was before: random state, and statistics that are still moving."""

    def __init__(self, modules: list[nn.Module], device: torch.device) -> None:
        self._device = device
        self._random = torch_states(device)  # kept on the host: asking for them does not wait for the device
        self._moving = [buffer for module in modules if module.training for buffer in module.buffers(recurse=False)]
        self._values = [buffer.clone() for buffer in self._moving]

    @torch.no_grad()
    def restore(self) -> None:
        set_torch_states(self._random, self._device)
        for buffer, value in zip(self._moving, self._values, strict=True):
            buffer.copy_(value)
