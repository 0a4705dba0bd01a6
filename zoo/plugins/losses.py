"""The loss of a head, built by a plugin, with its activation and the smoothing of its labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from zoo.errors import ConfigError, PluginError
from zoo.plugins.specs import Activation, LossRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from zoo.plugins.registry import Choice, Offer
    from zoo.plugins.specs import LossSpec

LossFunction: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"
_CHECKED = 4  # rows of logits on which a new loss is checked


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """A loss, and the activation that turns its logits into probabilities. `build_criterion` makes one of a plugin.

    Attributes:
        name: The name of the loss, for messages.
        function: Returns the mean loss of logits ``(N, classes)`` and targets, as `zoo.LossSpec.build` describes it;
            None in a finished run, which has no use for a loss.
        activation: ``"softmax"``, whose probabilities sum to one, or ``"sigmoid"``, whose need not.
        label_smoothing: Share of the target that is spread evenly over all classes, 0 to 1 (Szegedy et al. 2016,
            https://arxiv.org/abs/1512.00567).
        smooths_labels: Whether `function` smooths the labels itself.

    Raises:
        ConfigError: The label smoothing is not from 0 to 1.
    """

    name: str
    function: LossFunction | None
    activation: Activation = "softmax"
    label_smoothing: float = 0.0
    smooths_labels: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing <= 1:
            raise ConfigError(f"label_smoothing is {self.label_smoothing}.", hint="It must be between 0 and 1.")

    @property
    def sums_to_one(self) -> bool:
        """Whether the probabilities of an image sum to one."""
        return self.activation == "softmax"

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the mean loss of a batch, a scalar.

        Args:
            logits: ``(N, classes)`` of any float type; the computation uses at least float32.
            targets: Class indices ``(N,)`` int64, or soft targets ``(N, classes)`` whose rows sum to one.

        Raises:
            ConfigError: The network was opened for predictions, and has no loss.
        """
        import torch

        if self.function is None:
            raise ConfigError(
                f"The loss '{self.name}' is not available in a finished run, which is opened for predictions.",
                hint="Train with 'zoo finetune', or build the loss with zoo.plugins.losses.build_criterion.",
            )
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        targets = targets if targets.ndim == 1 else targets.to(logits)
        if self.label_smoothing and not self.smooths_labels:
            targets = self._smooth(targets, logits)
        return self.function(logits, targets)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Returns probabilities ``(N, classes)`` float32, from 0 to 1, of logits ``(N, classes)``."""
        return logits.float().softmax(dim=1) if self.sums_to_one else logits.float().sigmoid()

    def _smooth(self, targets: Tensor, logits: Tensor) -> Tensor:
        from torch.nn import functional as F

        classes = logits.shape[1]
        soft = F.one_hot(targets, classes).to(logits) if targets.ndim == 1 else targets
        return soft * (1 - self.label_smoothing) + self.label_smoothing / classes


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
