"""The generalised cross-entropy, for noisy labels (Zhang and Sabuncu 2018, https://arxiv.org/abs/1805.07836)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    import zoo

Q = 0.7


def build(request: zoo.LossRequest) -> Callable[[Tensor, Tensor], Tensor]:
    """Returns the mean of ``(1 - p ** q) / q``."""

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        soft = F.one_hot(targets, request.classes).to(logits) if targets.ndim == 1 else targets
        return (soft * -(Q * logits.log_softmax(dim=1)).expm1() / Q).sum(dim=1).mean()

    return loss
