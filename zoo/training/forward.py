"""Runs a network over a split of a dataset."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from zoo.training.distributed.process_group import SINGLE_PROCESS
from zoo.training.micro_batches import MicroBatches, concatenate, select

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from zoo.data.loading.loader import Batch
    from zoo.models.precision import Precision
    from zoo.plugins.contracts import Head
    from zoo.training.distributed.process_group import ProcessGroup

T = TypeVar("T")


class Outputs(NamedTuple):
    """The outputs of a network for every image of a split.

    Attributes:
        logits: float32 ``(N, classes)``, on the CPU.
        labels: int64 ``(N,)``, or multi-hot uint8 ``(N, classes)``, on the CPU.
    """

    logits: Tensor
    labels: Tensor

    @torch.no_grad()
    def loss(self, head: Head) -> float:
        """Returns the mean loss."""
        device = _device_of(head)
        return float(head.loss(self.logits.to(device), self.labels.to(device)))

    @torch.no_grad()
    def probabilities(self, head: Head) -> Tensor:
        """Returns ``(N, classes)`` float32, on the CPU."""
        return head.probabilities(self.logits.to(_device_of(head))).cpu()

    def losses(self, head: Head) -> Tensor:
        """Returns the negative log-likelihood of every image, float32 ``(N,)``, on the CPU.

        Where classes have weights or logits are adjusted in training, so they are here: epochs are compared by what
        training minimises.
        """
        criterion, tiny = head.criterion, torch.finfo(torch.float32).tiny
        adjusted = self._replace(logits=criterion.adjust(self.logits))
        probabilities = adjusted.probabilities(head)
        if self.labels.ndim == 2:
            true = torch.where(self.labels.bool(), probabilities, 1 - probabilities)
            return -(true.clamp(min=tiny).log() * criterion.weigh_labels(self.labels, probabilities)).sum(dim=1)
        losses = -probabilities.gather(1, self.labels[:, None])[:, 0].clamp(min=tiny).log()
        return losses * criterion.weigh(self.labels, self.logits) if criterion.class_weights else losses

    def accuracy(self) -> float:
        """Returns the share of images that are classified correctly; see `count_correct`."""
        return float(count_correct(self.logits, self.labels)) / len(self.labels)


def count_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Returns how many images are classified correctly, a scalar on the device.

    With one label per image, these are the images whose largest logit is that of their class. With any number of
    labels, they are those for which every label is right at a probability of 0.5: the accuracy of scikit-learn.

    Args:
        logits: ``(N, classes)``.
        labels: As in `Outputs`.
    """
    if labels.ndim == 1:
        return (logits.argmax(dim=1) == labels).sum()
    return ((logits >= 0) == labels.bool()).all(dim=1).sum()


def _device_of(head: Head) -> torch.device:
    """Returns the device of a head, whose loss and activation may have weights too."""
    return next((tensor.device for tensor in chain(head.parameters(), head.buffers())), torch.device("cpu"))


@torch.inference_mode()
def compute_outputs(
    network: nn.Module,
    batches: Iterable[Batch],
    precision: Precision,
    *,
    micro_batches: MicroBatches | None = None,
    processes: ProcessGroup = SINGLE_PROCESS,
) -> Outputs:
    """Returns the logits of every batch. The network is in eval mode meanwhile; afterwards its modes are as before.

    Args:
        network: On the device of `precision`.
        batches: Batches of images or of cached features.
        precision: The precision of forward passes.
        micro_batches: How many images the network processes at a time; halved when memory runs out.
        processes: The processes that share the images; each returns the outputs for all of them, in order.

    Raises:
        TrainingError: Memory is too small for a single image.
    """
    micro_batches = micro_batches or MicroBatches()
    logits, labels = [], []
    with evaluating(network):
        for batch in batches:
            logits.append(in_micro_batches(network, batch, precision, micro_batches).float())
            labels.append(batch.labels)
    return Outputs(processes.all_gather_rows(logits).cpu(), processes.all_gather_rows(labels).cpu())


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Puts a network into eval mode for a block; afterwards every module is in its own mode again."""
    was_training = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in was_training.items():
            module.training = training


def in_micro_batches(network: Callable[[Any], T], batch: Batch, precision: Precision, micro_batches: MicroBatches) -> T:
    """Returns the output of a network in eval mode for a batch: a tensor or a tuple of tensors.

    Raises:
        TrainingError: Memory is too small for a single image.
    """
    for attempt in micro_batches.attempts(len(batch.labels)):
        with attempt:
            return _forward(network, batch, precision, micro_batches)
    raise AssertionError("unreachable: attempts() ends with a result or an error")


def _forward(network: Callable[[Any], T], batch: Batch, precision: Precision, micro_batches: MicroBatches) -> T:
    with precision.autocast():
        outputs = [network(select(batch.images, where)) for where in micro_batches.split(len(batch.labels))]
    result: T = concatenate(outputs)
    return result
