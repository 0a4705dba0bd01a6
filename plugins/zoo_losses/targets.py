"""What all losses do with their targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import Tensor


def to_soft(targets: Tensor, logits: Tensor) -> Tensor:
    """Returns targets ``(N, classes)`` with the type and the device of the logits; indices ``(N,)`` become one-hot."""
    return F.one_hot(targets, logits.shape[1]).to(logits) if targets.ndim == 1 else targets.to(logits)
