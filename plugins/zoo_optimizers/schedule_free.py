"""Schedule-free optimizers (Defazio et al. 2024, The Road Less Scheduled, https://arxiv.org/abs/2405.15682).

Three points: ``z`` takes the steps of the base optimizer; ``x`` is the average of all ``z``, to be evaluated; and the
gradient is that of ``y = (1 - beta) z + beta x``. The parameters are ``y`` while training. In between, `eval` makes
them ``x``, and `train` puts the very same ``y`` back, so that an evaluation does not change what follows it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from zoo.plugins.specs import OptimizerRequest


class ScheduleFreeOptimizer(torch.optim.Optimizer):
    """The base of both: averages what a base optimizer does.

    Args:
        groups: The parameter groups.
        lr: The default learning rate. It is meant to be constant after a warmup.
        beta: Share of the average in the point of the gradient.
        power: A step weighs as much as its number to this power in the average, and as the square of the highest rate.
    """

    def __init__(self, groups: list[dict[str, Any]], *, lr: float, beta: float, power: float) -> None:
        defaults = {"lr": lr, "weight_decay": 0.0, "beta": beta, "power": power}
        super().__init__(groups, {**defaults, "steps": 0, "highest": 0.0, "weights": 0.0, "evaluated": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Takes a step; as `torch.optim.Optimizer.step`.

        Raises:
            RuntimeError: The parameters are those for evaluation.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["evaluated"]:
                raise RuntimeError("train() must be called before a step")
            group["steps"] += 1
            group["highest"] = max(group["highest"], group["lr"])
            weight = group["steps"] ** group["power"] * group["highest"] ** 2
            group["weights"] += weight
            share = weight / group["weights"] if group["weights"] else 0.0
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group, share)
        return loss

    @torch.no_grad()
    def eval(self) -> None:
        """Makes the parameters those to evaluate: the average."""
        for parameter in self._switched(to=True):
            state = self.state[parameter]
            state["y"] = parameter.clone()
            parameter.copy_(state["x"])

    @torch.no_grad()
    def train(self) -> None:
        """Makes the parameters those to train again."""
        for parameter in self._switched(to=False):
            parameter.copy_(self.state[parameter].pop("y"))

    def _switched(self, *, to: bool) -> Iterator[Tensor]:
        """Yields the parameters that have moved, of the groups that are not in this mode yet."""
        for group in self.param_groups:
            if group["evaluated"] != to:
                group["evaluated"] = to
                yield from (parameter for parameter in group["params"] if "x" in self.state[parameter])

    def _move(self, parameter: Tensor, group: dict[str, Any], share: float) -> None:
        state = self.state[parameter]
        if not state:
            state["x"], state["z"] = parameter.clone(), parameter.clone()
        direction = self._direction(parameter, group, state)
        state["z"].sub_(direction.add(parameter, alpha=group["weight_decay"]), alpha=group["lr"])
        state["x"].lerp_(state["z"], share)
        torch.lerp(state["z"], state["x"], group["beta"], out=parameter)

    def _direction(self, parameter: Tensor, group: dict[str, Any], state: dict[str, Any]) -> Tensor:
        raise NotImplementedError


class ScheduleFreeSgd(ScheduleFreeOptimizer):
    """SGD; the beta of the average takes the place of momentum."""

    def _direction(self, parameter: Tensor, group: dict[str, Any], state: dict[str, Any]) -> Tensor:
        assert parameter.grad is not None
        return parameter.grad


class ScheduleFreeAdamw(ScheduleFreeOptimizer):
    """AdamW; the beta of the average takes the place of the first moment.

    Args:
        groups: The parameter groups.
        beta2: Decay of the average of squared gradients.
        eps: Added to the denominator.
        **values: As in `ScheduleFreeOptimizer`.
    """

    def __init__(self, groups: list[dict[str, Any]], *, beta2: float, eps: float, **values: Any) -> None:
        super().__init__(groups, **values)
        self.beta2, self.eps = beta2, eps

    def _direction(self, parameter: Tensor, group: dict[str, Any], state: dict[str, Any]) -> Tensor:
        assert parameter.grad is not None
        squares: Tensor = state.setdefault("squares", torch.zeros_like(parameter))
        squares.mul_(self.beta2).addcmul_(parameter.grad, parameter.grad, value=1 - self.beta2)
        correction = math.sqrt(1 - self.beta2 ** group["steps"])
        return parameter.grad.div(squares.sqrt().div_(correction).add_(self.eps))


def build_adamw(request: OptimizerRequest) -> ScheduleFreeAdamw:
    """Builds schedule-free AdamW."""
    options = request.options
    return ScheduleFreeAdamw(
        request.groups,
        lr=request.lr,
        beta=options.beta1,
        beta2=options.beta2,
        eps=options.eps,
        power=options.power,
    )


def build_sgd(request: OptimizerRequest) -> ScheduleFreeSgd:
    """Builds schedule-free SGD."""
    return ScheduleFreeSgd(request.groups, lr=request.lr, beta=request.momentum, power=request.options.power)
