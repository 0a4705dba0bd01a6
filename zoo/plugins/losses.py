"""Builds the loss of a head from that of a plugin, and checks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.errors import ConfigError, PluginError
from zoo.plugins.criterion import Criterion
from zoo.plugins.specs import LossRequest

if TYPE_CHECKING:
    from zoo.plugins.registry import Choice, Offer
    from zoo.plugins.specs import LossSpec

_CHECKED = 4  # rows of logits on which a new loss is checked


def check_balancing(
    spec: LossSpec, *, weighted: bool = False, weighted_labels: bool = False, adjusted: bool = False
) -> None:
    """Checks that a loss goes together with weights of classes or labels, or with an adjustment of logits.

    Args:
        spec: The loss.
        weighted: Whether classes have weights.
        weighted_labels: Whether labels have weights, in photos with any number of them.
        adjusted: Whether logits are adjusted.

    Raises:
        ConfigError: It does not.
    """
    if weighted and not spec.per_image:
        raise ConfigError(
            f"The loss '{spec.name}' has no loss per photo (LossSpec.per_image), so classes cannot have weights.",
            hint="Leave out --class-weights and --sampler, or use another loss, such as cross-entropy.",
        )
    if weighted_labels and not spec.per_label:
        raise ConfigError(
            f"The loss '{spec.name}' has no loss per label (LossSpec.per_label), so labels cannot have weights.",
            hint="Leave out --class-weights, or use another loss, such as bce.",
        )
    if adjusted and spec.activation != "softmax":
        raise ConfigError(
            f"The loss '{spec.name}' has a sigmoid for each class; logits are adjusted for a softmax over all classes.",
            hint="Leave out --logit-adjustment, or use another loss, such as cross-entropy.",
        )


def build_criterion(
    choice: Choice[LossSpec],
    *,
    classes: int,
    label_smoothing: float = 0.0,
    multi_label: bool = False,
    class_weights: tuple[float, ...] = (),
    positive_weights: tuple[float, ...] = (),
    logit_offsets: tuple[float, ...] = (),
) -> Criterion:
    """Builds a loss, and checks on a few rows of logits that it can be trained with.

    Args:
        choice: The loss and its options.
        classes: Number of classes.
        label_smoothing: As in `Criterion`.
        multi_label: As in `Criterion`.
        class_weights: As in `Criterion`.
        positive_weights: As in `Criterion`.
        logit_offsets: As in `Criterion`.

    Raises:
        ConfigError: An option does not fit the number of classes, or the loss cannot be weighted or adjusted.
        PluginError: The plugin failed or violates its contract.
    """
    spec, offer = choice.spec, choice.offer
    check_balancing(
        spec,
        weighted=bool(class_weights),
        weighted_labels=bool(positive_weights),
        adjusted=bool(logit_offsets),
    )
    request = LossRequest(
        classes=classes,
        label_smoothing=label_smoothing,
        options=choice.options,
        multi_label=multi_label,
        per_image=bool(class_weights),
        per_label=bool(positive_weights),
    )
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
        multi_label=multi_label,
        class_weights=class_weights,
        positive_weights=positive_weights,
        logit_offsets=logit_offsets,
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
        if criterion.class_weights or criterion.positive_weights:
            assert criterion.function is not None
            losses: Any = offer.call(f"computing, with {kind}, the losses", criterion.function, logits, targets)
            wanted = (_CHECKED, classes) if criterion.positive_weights else (_CHECKED,)
            if not isinstance(losses, torch.Tensor) or losses.shape != wanted:
                found = tuple(losses.shape) if isinstance(losses, torch.Tensor) else type(losses).__name__
                raise PluginError(f"{offer.name}: the losses of {_CHECKED} images with {kind} are {found}.")
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
