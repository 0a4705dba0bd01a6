"""Optimizers with a line search: L-BFGS and nonlinear conjugate gradients, for any parameters.

Each step improves the loss of one set of images along a few directions. All that it remembers of the curvature comes
from changes of the gradient on the same images (Berahas et al. 2016, https://arxiv.org/abs/1605.06049), so that batches
and augmentation may change from step to step. `torch.optim.LBFGS` compares gradients on different images, and takes
neither groups nor weight decay.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo_optimizers.wolfe import Point, search

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo.plugins.specs import OptimizerRequest

_FLAT = 1e-7  # change of the loss, as a share of it, that is not worth a search
_MIN_CURVATURE = 1e-10  # of a change of the gradient, to be remembered


class LineSearchOptimizer(torch.optim.Optimizer):
    """The base of both: searches along directions that depend on what earlier ones showed.

    Weight decay is a penalty, half of it times the sum of squares, in the loss that the search compares. The learning
    rates of the groups are relative to the highest one: they stretch the space, and the search finds the length.

    Args:
        groups: The parameter groups.
        lr: The default learning rate.
        iterations: Directions in a step.
        evaluations: Most evaluations of loss and gradient in a step.
        curvature: As in `zoo_optimizers.wolfe.search`.
    """

    def __init__(
        self, groups: list[dict[str, Any]], *, lr: float, iterations: int, evaluations: int, curvature: float
    ) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0})
        self.iterations, self.evaluations, self.curvature = iterations, evaluations, curvature

    @torch.no_grad()
    def step(self, closure: Callable[[], Any]) -> Tensor:  # type: ignore[override]
        """Takes a step, and returns the loss before it.

        Args:
            closure: Returns the loss, a scalar, and computes the gradient of all parameters.
        """
        parameters, stretches, decays = self._parameters()
        losses: list[Tensor] = []

        def evaluate() -> tuple[float, Tensor]:
            for parameter in parameters:
                parameter.grad = None
            with torch.enable_grad():
                loss = closure()
            losses.append(torch.as_tensor(loss).detach())
            value, gradients = losses[-1].double(), []
            for parameter, stretch, decay in zip(parameters, stretches, decays, strict=True):
                if parameter.grad is None:
                    gradients.append(torch.zeros_like(parameter))
                    continue
                gradients.append(parameter.grad.add(parameter, alpha=decay).mul_(stretch))
                if decay:
                    value = value + decay / 2 * parameter.square().sum().double()
            return float(value), _flatten(gradients)

        value, gradient = evaluate()
        factors = _flatten([torch.full_like(each, s) for each, s in zip(parameters, stretches, strict=True)])
        memory = self.state[self.param_groups[0]["params"][0]]
        for _ in range(self.iterations):
            left = self.evaluations - len(losses)
            if left < 1 or not math.isfinite(value):
                break
            direction = self._direction(memory, gradient)
            slope = float(gradient.dot(direction))
            if not slope < 0:  # rounding, or a memory of other images
                memory.clear()
                direction, slope = -gradient, -float(gradient.dot(gradient))
            if not -slope > _FLAT * abs(value):
                break
            start = Point(length=0.0, value=value, slope=slope, gradient=gradient)
            length = self._first_length(memory, start)
            found = _search(
                evaluate, start, direction, parameters, factors, length, curvature=self.curvature, evaluations=left
            )
            if found is start:
                memory.clear()
                break
            self._remember(memory, direction, start, found)
            value, gradient = found.value, found.gradient
        return losses[0]

    def _parameters(self) -> tuple[list[Tensor], list[float], list[float]]:
        """Returns the parameters, each with the factor on its steps and its weight decay."""
        highest = max(group["lr"] for group in self.param_groups) or 1.0
        rows = [
            (parameter, math.sqrt(group["lr"] / highest), group["weight_decay"])
            for group in self.param_groups
            for parameter in group["params"]
        ]
        parameters, stretches, decays = zip(*rows, strict=True)
        return [*parameters], [*stretches], [*decays]

    def _direction(self, memory: dict[str, Any], gradient: Tensor) -> Tensor:
        raise NotImplementedError

    def _first_length(self, memory: dict[str, Any], start: Point) -> float:
        raise NotImplementedError

    def _remember(self, memory: dict[str, Any], direction: Tensor, start: Point, found: Point) -> None:
        raise NotImplementedError


class Lbfgs(LineSearchOptimizer):
    """Limited-memory BFGS (Liu & Nocedal 1989, https://doi.org/10.1007/BF01589116).

    Args:
        groups: The parameter groups.
        history: Changes of the gradient to remember.
        **values: As in `LineSearchOptimizer`.
    """

    def __init__(self, groups: list[dict[str, Any]], *, history: int, **values: Any) -> None:
        super().__init__(groups, curvature=0.9, **values)
        self.history = history

    def _direction(self, memory: dict[str, Any], gradient: Tensor) -> Tensor:
        pairs = [*zip(memory.get("moves", ()), memory.get("changes", ()), strict=True)]
        direction, shares = -gradient, []
        for move, change in reversed(pairs):
            shares.append(move.dot(direction) / change.dot(move))
            direction = direction - shares[-1] * change
        if pairs:
            move, change = pairs[-1]
            direction = direction * (move.dot(change) / change.dot(change))
        for (move, change), share in zip(pairs, reversed(shares), strict=True):
            direction = direction + move * (share - change.dot(direction) / change.dot(move))
        return direction

    def _first_length(self, memory: dict[str, Any], start: Point) -> float:
        return 1.0 if memory.get("moves") else _cautious_length(start)

    def _remember(self, memory: dict[str, Any], direction: Tensor, start: Point, found: Point) -> None:
        move, change = found.length * direction, found.gradient - start.gradient
        if float(move.dot(change)) > _MIN_CURVATURE * float(change.dot(change)):
            memory["moves"] = [*memory.get("moves", ()), move][-self.history :]
            memory["changes"] = [*memory.get("changes", ()), change][-self.history :]


class ConjugateGradients(LineSearchOptimizer):
    """Nonlinear conjugate gradients by Polak and Ribière, restarted where that is no descent (method PR+).

    Nocedal & Wright, Numerical Optimization, 2006, section 5.2.
    """

    def __init__(self, groups: list[dict[str, Any]], **values: Any) -> None:
        super().__init__(groups, curvature=0.1, **values)

    def _direction(self, memory: dict[str, Any], gradient: Tensor) -> Tensor:
        return memory["share"] * memory["direction"] - gradient if memory else -gradient

    def _first_length(self, memory: dict[str, Any], start: Point) -> float:
        """Returns the length that would change the loss as much as the last one, to first order."""
        return memory["length"] * memory["slope"] / start.slope if memory else _cautious_length(start)

    def _remember(self, memory: dict[str, Any], direction: Tensor, start: Point, found: Point) -> None:
        squared = float(start.gradient.dot(start.gradient))
        share = max(0.0, float(found.gradient.dot(found.gradient - start.gradient)) / squared)
        memory.update(direction=direction, share=share, length=found.length, slope=start.slope)


def build_lbfgs(request: OptimizerRequest) -> Lbfgs:
    """Builds L-BFGS."""
    return Lbfgs(request.groups, history=request.options.history, **_limits(request))


def build_cg(request: OptimizerRequest) -> ConjugateGradients:
    """Builds conjugate gradients."""
    return ConjugateGradients(request.groups, **_limits(request))


def _search(
    evaluate: Callable[[], tuple[float, Tensor]],
    start: Point,
    direction: Tensor,
    parameters: list[Tensor],
    factors: Tensor,
    length: float,
    *,
    curvature: float,
    evaluations: int,
) -> Point:
    """Moves the parameters along a direction, each number by its factor, and returns where they are then."""
    origin, way = _flatten(parameters), direction * factors

    def evaluate_at(length: float) -> Point:
        _assign(parameters, origin + length * way)
        value, gradient = evaluate()
        return Point(length=length, value=value, slope=float(gradient.dot(direction)), gradient=gradient)

    found = search(evaluate_at, start, length=length, curvature=curvature, evaluations=evaluations)
    _assign(parameters, origin + found.length * way)
    return found


def _limits(request: OptimizerRequest) -> dict[str, Any]:
    options = request.options
    return {"lr": request.lr, "iterations": options.iterations, "evaluations": options.evaluations}


def _cautious_length(start: Point) -> float:
    """Returns the length of a first step, which moves the weights by 1 at most."""
    return min(1.0, 1.0 / math.sqrt(float(start.gradient.dot(start.gradient))))


def _flatten(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def _assign(parameters: list[Tensor], flat: Tensor) -> None:
    for parameter, values in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        parameter.copy_(values.view_as(parameter))
