"""Builds the loss of a head from that of a plugin, and checks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.errors import PluginError
from zoo.plugins.criterion import Criterion
from zoo.plugins.specs import LossRequest

if TYPE_CHECKING:
    from zoo.plugins.registry import Choice, Offer
    from zoo.plugins.specs import LossSpec

_CHECKED = 4  # rows of logits on which a new loss is checked


def build_criterion(choice: Choice[LossSpec], *, classes: int, label_smoothing: float = 0.0) -> Criterion:
    """Builds a loss, and checks on a few rows of logits that it can be trained with.

    Args:
        choice: The loss and its options.
        classes: Number of classes.
        label_smoothing: As in `Criterion`.

    Raises:
        ConfigError: An option does not fit the number of classes.
        PluginError: The plugin failed or violates its contract.
    """
    spec, offer = choice.spec, choice.offer
    request = LossRequest(classes=classes, label_smoothing=label_smoothing, options=choice.options)
    function = offer.call("building", spec.build, request)
    if not callable(function):
        raise PluginError(
            f"{offer.name}: build returned {type(function).__name__}, not a function of logits and targets."
        )
    criterion = Criterion(
        name=spec.name,
        function=function,
        activation=spec.activation,
        label_smoothing=label_smoothing,
        smooths_labels=spec.smooths_labels,
    )
    _check_loss(offer, criterion, classes)
    return criterion


def _check_loss(offer: Offer[LossSpec], criterion: Criterion, classes: int) -> None:
    import torch

    # Not random: nothing that a loss does may change the numbers that initialise and train a network.
    logits = torch.linspace(-1, 1, _CHECKED * classes).view(_CHECKED, classes)
    for kind, targets in (
        ("indices", torch.arange(_CHECKED) % classes),
        ("soft targets", torch.full((_CHECKED, classes), 1 / classes)),
    ):
        leaf = logits.clone().requires_grad_()
        loss: Any = offer.call(f"computing, with {kind}, the loss", criterion.loss, leaf, targets)
        if not isinstance(loss, torch.Tensor) or loss.shape != () or not loss.is_floating_point():
            found = tuple(loss.shape) if isinstance(loss, torch.Tensor) else type(loss).__name__
            raise PluginError(f"{offer.name}: the loss of {kind} is {found}, not a single number.")
        if not bool(loss.isfinite()):
            raise PluginError(f"{offer.name}: the loss of {kind} is {loss.item()} for moderate logits.")
        if not loss.requires_grad:
            raise PluginError(f"{offer.name}: no gradient of the loss of {kind} reaches the logits.")
        if not torch.equal(leaf, logits):
            raise PluginError(f"{offer.name}: the loss changes the logits in place.")
