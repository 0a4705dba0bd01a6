"""Runs a network over a part of a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zoo.contracts import Head
    from zoo.data.loader import Batch
    from zoo.engine.precision import Precision


class Outputs(NamedTuple):
    """What a network said to every image of a part.

    Attributes:
        logits: float32 ``(N, classes)``, on the CPU.
        labels: int64 ``(N,)``, on the CPU.
    """

    logits: Tensor
    labels: Tensor

    def loss(self, head: Head) -> float:
        """Returns the mean loss."""
        return float(head.loss(self.logits, self.labels))

    def accuracy(self) -> float:
        """Returns top-1, 0 to 1."""
        return float((self.logits.argmax(dim=1) == self.labels).double().mean())


@torch.inference_mode()
def run_over(network: nn.Module, batches: Iterable[Batch], precision: Precision) -> Outputs:
    """Returns the logits of every batch; the network is in eval mode meanwhile, and left as it was."""
    was_training = {module: module.training for module in network.modules()}
    network.eval()
    logits, labels = [], []
    for batch in batches:
        with precision.autocast():
            logits.append(network(batch.images).float())
        labels.append(batch.labels)
    for module, training in was_training.items():
        module.training = training
    return Outputs(torch.cat(logits).cpu(), torch.cat(labels).cpu())
