"""The moving average of a network's weights, which is evaluated in their place."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch.optim.swa_utils import AveragedModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn


class WeightAverage(AveragedModel):
    """An exponential moving average of weights and statistics (Tarvainen & Valpola 2017, section 2).

    https://arxiv.org/abs/1703.01780. It differs from torch's `AveragedModel` with `get_ema_multi_avg_fn` in two ways.
    Integers, such as the relative position index of a Swin transformer, are copied: torch averages them too and
    truncates the result, which lowers some of them by one. And an update does not wait for the device: torch copies its
    counter of updates there every time.

    Args:
        network: The network to average; `module` starts as a copy of it.
        decay: Weight of the old average in an update, 0 to 1.
    """

    def __init__(self, network: nn.Module, *, decay: float) -> None:
        super().__init__(network, use_buffers=True)
        self._decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Moves the average towards the present weights of `model`; the first update copies them."""
        averages: list[Tensor] = []
        values: list[Tensor] = []
        started = bool(self.n_averaged > 0)  # on the CPU: does not wait for the device
        for average, value in zip(_state(self.module), _state(model), strict=True):
            if started and average.is_floating_point():
                averages.append(average)
                values.append(value)
            else:
                average.copy_(value)
        if averages:
            torch._foreach_lerp_(averages, values, 1 - self._decay)
        self.n_averaged += 1


def _state(network: nn.Module) -> Iterator[Tensor]:
    return chain(network.parameters(), network.buffers())
