"""Optimizers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
        closure: Whether ``step`` takes a closure that computes the loss and its gradient, and calls it as often as it
            needs, as a line search does.
        full_batch: Whether each step is meant for all training photos at once, whatever the batch size.
        averages: Whether it averages the weights itself, and has methods ``train()`` and ``eval()`` that switch between
            the weights to train and those to evaluate, as schedule-free optimizers do.
    """

    build: Callable[[OptimizerRequest], torch.optim.Optimizer] | str
    closure: bool = False
    full_batch: bool = False
    averages: bool = False
