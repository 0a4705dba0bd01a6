"""Stops a training whose numbers are no longer finite, before they take the place of good ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from zoo.errors import TrainingError

if TYPE_CHECKING:
    from torch import nn

_HINT = "Lower --lr, raise --warmup, set --clip-grad 1, or use --precision fp32."


def check_loss(loss: float, *, epoch: int, step: int, rate: float) -> None:
    """Checks the mean loss of an epoch so far.

    Raises:
        TrainingError: It is not finite; the message names epoch, step and rate.
    """
    if not math.isfinite(loss):
        raise TrainingError(
            f"The loss became {loss} in epoch {epoch}, at or before step {step}, at a learning rate of {rate:.2g}.",
            hint=_HINT,
        )


def check_weights(network: nn.Module, *, epoch: int, step: int, rate: float) -> None:
    """Checks the weights that learn: a loss tells only at the next step that they are spoilt. Waits for the device.

    Raises:
        TrainingError: One is not finite.
    """
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if learning and not torch.stack([parameter.detach().isfinite().all() for parameter in learning]).all():
        raise TrainingError(
            f"The weights are no longer finite after step {step} of epoch {epoch}, at a learning rate of {rate:.2g}.",
            hint=_HINT,
        )
