"""Optimizers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from zoo.plugins.specs.base import Spec

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerRequest:
    """The argument of `OptimizerSpec.build`.

    Attributes:
        groups: Parameter groups, as torch's optimizers take them: each has ``params``, ``lr``, ``weight_decay`` and
            ``lr_scale``, its factor on the learning rate.
        lr: Learning rate of a group with scale 1.
        momentum: From the configuration, for optimizers that have one.
        options: An instance of `OptimizerSpec.options`.
    """

    groups: list[dict[str, Any]]
    lr: float
    momentum: float
    options: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerSpec(Spec):
    """An optimizer.

    Attributes:
        build: Returns a `torch.optim.Optimizer` of the groups. Before each step the engine sets the ``lr`` of every
            group, by the schedule and its ``lr_scale``.
        closure: Whether ``step`` needs a closure that computes the loss and its gradient, and calls it as often as it
            likes, as a line search does. It gets the same images in every call of a step.
        full_batch: Whether each step takes all training photos, so that it is an epoch. A field ``full_batch`` of its
            options takes precedence, so that the user decides.
        averages: Whether it averages the weights itself, and has methods ``train()`` and ``eval()`` that switch between
            the weights to train and those to evaluate, as schedule-free optimizers do.
        rate_growth: How the learning rate grows with an automatic batch size: ``"sqrt"`` for adaptive optimizers
            (Malladi et al. 2022, https://arxiv.org/abs/2205.10287), ``"linear"`` for SGD (Goyal et al. 2017,
            https://arxiv.org/abs/1706.02677), ``"none"`` where a line search decides the length of a step.
        auto_weight_decay: The weight decay of ``weight_decay="auto"``; less where it is part of the loss that is
            minimised.
        head_solver: The solver of the engine that takes its place with ``freeze="all"``, where a head is fitted to
            cached features: ``"lbfgs"``, ``"cg"``, or empty if it trains such a head step by step, too.
    """

    build: Callable[[OptimizerRequest], torch.optim.Optimizer] | str
    closure: bool = False
    full_batch: bool = False
    averages: bool = False
    rate_growth: Literal["none", "sqrt", "linear"] = "sqrt"
    auto_weight_decay: float = 0.05
    head_solver: Literal["", "lbfgs", "cg"] = ""

    def takes_full_batch(self, options: Any) -> bool:
        """Returns whether each step takes all training photos with these options."""
        return bool(getattr(options, "full_batch", self.full_batch))
