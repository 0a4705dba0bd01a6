"""Losses of one sigmoid per class. Each takes a request and returns a function of logits and targets.

They are summed over the classes, so that the gradient does not shrink as their number grows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional as F

from zoo_losses.targets import reduce_labels, to_soft

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    import zoo

_TINY = 1e-12  # the smallest base of a power below 1, whose derivative at 0 is infinite


def bce(request: zoo.LossRequest) -> Callable[[Tensor, Tensor], Tensor]:
    """Returns the sum of the binary cross-entropies (Wightman et al. 2021, https://arxiv.org/abs/2110.00476)."""

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        soft = to_soft(targets, logits)
        return reduce_labels(F.binary_cross_entropy_with_logits(logits, soft, reduction="none"), request)

    return loss


def asymmetric(request: zoo.LossRequest) -> Callable[[Tensor, Tensor], Tensor]:
    """Returns the asymmetric loss (Ridnik et al. 2021, https://arxiv.org/abs/2009.14119, equations 4 to 7).

    A positive has the loss ``-(1 - p) ** gamma_pos * log(p)``, a negative ``-q ** gamma_neg * log(1 - q)`` with
    ``q = max(p - clip, 0)``.
    """
    gamma_pos, gamma_neg, clip = request.options.gamma_pos, request.options.gamma_neg, request.options.clip

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        soft, log_p, log_missing = to_soft(targets, logits), F.logsigmoid(logits), F.logsigmoid(-logits)
        positive = -(gamma_pos * log_missing).exp() * log_p
        shifted = (log_p.exp() - clip).clamp(min=_TINY)
        # 1 - q = 1 - p + clip. Without a shift, its logarithm at large logits needs the stable form.
        log_rest = (log_missing.exp() + clip).clamp(max=1).log() if clip else log_missing
        negative = -(shifted**gamma_neg) * log_rest
        return reduce_labels(soft * positive + (1 - soft) * negative, request)

    return loss
