"""Ends a training whose numbers are not finite, before they replace good ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from zoo.errors import TrainingError

if TYPE_CHECKING:
    from torch import nn

_HINT = "Lower --lr, raise --warmup, set --clip-grad 1, or use --precision fp32."


def check_loss(loss: float, *, epoch: int, step: int, rate: float) -> None:
    """Checks the mean training loss of the epoch so far.

    Raises:
        TrainingError: It is not finite; the message names epoch, step and learning rate.
    """
    if not math.isfinite(loss):
        raise TrainingError(
            f"The loss became {loss} in epoch {epoch}, at or before step {step}, at a learning rate of {rate:.2g}.",
            hint=_HINT,
        )


def check_val_loss(loss: float, *, epoch: int, rate: float) -> None:
    """Checks the validation loss of an epoch: after its last step, only the validation shows that weights diverged.

    Raises:
        TrainingError: It is not finite; the message names epoch and learning rate.
    """
    if not math.isfinite(loss):
        raise TrainingError(
            f"The validation loss became {loss} in epoch {epoch}, at a learning rate of {rate:.2g}.", hint=_HINT
        )


def check_weights(network: nn.Module, *, epoch: int, step: int, rate: float) -> None:
    """Checks the trainable weights, which show a step before the loss does that training diverged.

    Waits for the device.

    Raises:
        TrainingError: One is not finite.
    """
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if trainable and not torch.stack([parameter.detach().isfinite().all() for parameter in trainable]).all():
        raise TrainingError(
            f"The weights are no longer finite after step {step} of epoch {epoch}, at a learning rate of {rate:.2g}.",
            hint=_HINT,
        )
