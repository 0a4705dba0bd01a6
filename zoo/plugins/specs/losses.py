"""Losses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from zoo.plugins.specs.base import Spec

if TYPE_CHECKING:
    from torch import Tensor

Activation = Literal["softmax", "sigmoid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LossRequest:
    """The argument of `LossSpec.build`.

    Attributes:
        classes: Number of classes.
        label_smoothing: Share of the target that is spread evenly over all classes, 0 to 1; the targets of the loss
            are smoothed already.
        options: An instance of `LossSpec.options`.
    """

    classes: int
    label_smoothing: float
    options: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSpec(Spec):
    """A loss.

    Attributes:
        build: Returns a function of logits ``(N, classes)`` float32 and targets, class indices ``(N,)`` int64 or soft
            targets ``(N, classes)`` float32, whose result is the mean loss, a scalar. It draws no random numbers and
            waits for no device.
        activation: What turns logits into probabilities: ``"softmax"``, which sum to one, or ``"sigmoid"``.
    """

    build: Callable[[LossRequest], Callable[[Tensor, Tensor], Tensor]] | str
    activation: Activation = "softmax"
