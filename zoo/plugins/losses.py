"""The losses that a head may be trained with, each with its activation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from zoo.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

LossName = Literal["cross-entropy", "focal", "bce"]
LOSSES: tuple[str, ...] = get_args(LossName)
FOCAL_GAMMA = 2.0  # recommended by Lin et al. 2017, section 5.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """A loss, and the activation that turns its logits into probabilities.

    Attributes:
        name: ``"cross-entropy"``; ``"focal"`` (Lin et al. 2017, https://arxiv.org/abs/1708.02002, gamma 2) for
            imbalanced classes; ``"bce"``: one binary cross-entropy per class (Wightman et al. 2021,
            https://arxiv.org/abs/2110.00476), whose probabilities are sigmoids that need not sum to one.
        label_smoothing: Share of the target that is spread evenly over all classes, 0 to 1 (Szegedy et al. 2016,
            https://arxiv.org/abs/1512.00567).

    Raises:
        ConfigError: There is no such loss, or the label smoothing is not from 0 to 1.
    """

    name: str = "cross-entropy"
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in LOSSES:
            raise ConfigError(
                f"There is no loss '{self.name}'.",
                hint=f"{did_you_mean(self.name, LOSSES)} The losses are {', '.join(LOSSES)}.".strip(),
            )
        if not 0 <= self.label_smoothing <= 1:
            raise ConfigError(f"label_smoothing is {self.label_smoothing}.", hint="It must be between 0 and 1.")

    @property
    def sums_to_one(self) -> bool:
        """Whether the probabilities of an image sum to one."""
        return self.name != "bce"

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the mean loss of a batch, a scalar.

        Args:
            logits: ``(N, classes)`` of any float type; the computation uses at least float32.
            targets: Class indices ``(N,)`` int64, or soft targets ``(N, classes)`` whose rows sum to one.
        """
        import torch
        from torch.nn import functional as F

        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if self.name == "cross-entropy":
            targets = targets if targets.ndim == 1 else targets.to(logits)
            return F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)
        soft = self._soften(targets, logits.shape[1]).to(logits)
        if self.name == "bce":
            # Summed over the classes, so that the gradient does not shrink as their number grows.
            return F.binary_cross_entropy_with_logits(logits, soft, reduction="none").sum(dim=1).mean()
        log_p = F.log_softmax(logits, dim=1)
        return (-soft * (1 - log_p.exp()) ** FOCAL_GAMMA * log_p).sum(dim=1).mean()

    def probabilities(self, logits: Tensor) -> Tensor:
        """Returns probabilities ``(N, classes)`` float32, from 0 to 1, of logits ``(N, classes)``."""
        return logits.float().sigmoid() if self.name == "bce" else logits.float().softmax(dim=1)

    def _soften(self, targets: Tensor, classes: int) -> Tensor:
        from torch.nn import functional as F

        soft = F.one_hot(targets, classes).float() if targets.ndim == 1 else targets.float()
        return soft * (1 - self.label_smoothing) + self.label_smoothing / classes
