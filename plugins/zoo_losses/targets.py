"""What all losses do with their targets, and with the losses of the images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import Tensor

    import zoo


def to_soft(targets: Tensor, logits: Tensor) -> Tensor:
    """Returns targets ``(N, classes)`` with the type and the device of the logits; indices ``(N,)`` become one-hot."""
    return F.one_hot(targets, logits.shape[1]).to(logits) if targets.ndim == 1 else targets.to(logits)


def reduce(losses: Tensor, request: zoo.LossRequest) -> Tensor:
    """Returns the mean of the losses of the images, ``(N,)``, or the losses themselves if these are requested."""
    return losses if request.per_image else losses.mean()


def reduce_labels(losses: Tensor, request: zoo.LossRequest) -> Tensor:
    """Returns the mean over the images of the sum of their losses ``(N, classes)``, or what is requested instead."""
    return losses if request.per_label else reduce(losses.sum(dim=1), request)
