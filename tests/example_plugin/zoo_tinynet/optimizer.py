"""An optimizer that steps by the sign of the gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    import zoo


class Signs(torch.optim.Optimizer):
    """Moves each weight by the learning rate, down the slope."""

    def __init__(self, groups: list[dict[str, Any]], *, lr: float) -> None:
        super().__init__(groups, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Takes a step."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.sub_(group["lr"] * parameter.grad.sign())


def build(request: zoo.OptimizerRequest) -> Signs:
    """Builds the optimizer."""
    return Signs(request.groups, lr=request.lr)
