"""Losses of the softmax over all classes. Each takes a request and returns a function of logits and targets.

Every loss of soft targets is their weighted mean over the classes, so that a one-hot target has the loss of its index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional as F

from zoo_losses.targets import reduce, to_soft

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    import zoo

_TINY = 1e-12  # the smallest base of a power below 1, whose derivative at 0 is infinite


def cross_entropy(request: zoo.LossRequest) -> Callable[[Tensor, Tensor], Tensor]:
    """Returns the mean cross-entropy; smooths the labels itself, in one pass with the softmax."""
    smoothing, reduction = request.label_smoothing, "none" if request.per_image else "mean"

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction=reduction)

    return loss


def focal(request: zoo.LossRequest) -> Callable[[Tensor, Tensor], Tensor]:
    """Returns the focal loss (Lin et al. 2017, https://arxiv.org/abs/1708.02002): ``-(1 - p) ** gamma * log(p)``."""
    gamma = request.options.gamma

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        soft, log_p = to_soft(targets, logits), F.log_softmax(logits, dim=1)
        missing = 1 - log_p.exp()
        if 0 < gamma < 1:
            missing = missing.clamp(min=_TINY)
        return reduce((-soft * missing**gamma * log_p).sum(dim=1), request)

    return loss


def poly_1(request: zoo.LossRequest) -> Callable[[Tensor, Tensor], Tensor]:
    """Returns Poly-1 (Leng et al. 2022, https://arxiv.org/abs/2204.12511): ``-log(p) + epsilon * (1 - p)``."""
    epsilon = request.options.epsilon

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        soft, log_p = to_soft(targets, logits), F.log_softmax(logits, dim=1)
        return reduce((soft * (epsilon * (1 - log_p.exp()) - log_p)).sum(dim=1), request)

    return loss
