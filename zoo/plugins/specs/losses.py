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
        label_smoothing: Share of the target that is spread evenly over all classes, 0 to 1: for losses that smooth the
            labels themselves, and for those that need to know it.
        options: An instance of `LossSpec.options`.
        multi_label: Whether an image has any number of labels: targets are then multi-hot ``(N, classes)``, and
            smoothing moves each of them towards a half.
        per_image: Whether the function has to return the loss of each image, ``(N,)``, instead of their mean: asked
            only of a spec with `LossSpec.per_image`, where classes have weights.
        per_label: Whether the function has to return the loss of each label of each image, ``(N, classes)``, whose sum
            is the loss of the image: asked only of a spec with `LossSpec.per_label`, where labels have weights.
    """

    classes: int
    label_smoothing: float
    options: Any
    multi_label: bool = False
    per_image: bool = False
    per_label: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSpec(Spec):
    """A loss.

    Attributes:
        build: Returns a function of logits ``(N, classes)``, float32 or float64, and targets: class indices ``(N,)``
            int64, or soft targets ``(N, classes)`` of the type of the logits, which in a loss with sigmoids may be any
            number of labels. The result is the mean loss over the N
            images, a scalar. The function changes neither argument, draws no random numbers, and reads no value from
            the device, as ``.item()`` and ``if loss > 1`` do: that would make every step wait.
        activation: What turns logits into probabilities: ``"softmax"``, which sum to one, or ``"sigmoid"``. The record
            of a run contains it, so that a finished run needs no loss.
        smooths_labels: Whether the function applies `LossRequest.label_smoothing` itself. Otherwise its targets are
            smoothed already, and soft wherever labels are smoothed.
        per_image: Whether `build` follows `LossRequest.per_image`. Without it, the loss cannot be used with weights of
            classes (``--class-weights``).
        per_label: Whether `build` follows `LossRequest.per_label`. Without it, a loss with sigmoids cannot be used with
            weights of labels, where photos have any number of them.
    """

    build: Callable[[LossRequest], Callable[[Tensor, Tensor], Tensor]] | str
    activation: Activation = "softmax"
    smooths_labels: bool = False
    per_image: bool = False
    per_label: bool = False
