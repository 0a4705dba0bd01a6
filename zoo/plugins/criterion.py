"""The loss of a head, with its activation and the smoothing of its labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from zoo.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from zoo.plugins.specs.losses import Activation

LossFunction: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """A loss, and the activation that turns its logits into probabilities.

    `zoo.plugins.losses.build_criterion` makes one of the loss of a plugin.

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
