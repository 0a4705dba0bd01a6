"""Chooses a head and the penalty of each label for multi-label data: one logistic regression per label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.training.frozen.solver import predict_held_out

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zoo.plugins.contracts import Head

_MIN_PHOTOS = 8  # with a label, or without it, below which the label gets the penalty that is best for all together


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelPenalty:
    """What cross-validation chose.

    Attributes:
        number: The number of the head.
        strengths: The strength of the penalty for each label.
        losses: The mean loss per photo of every head that was compared, for each strength.
    """

    number: int
    strengths: tuple[float, ...]
    losses: tuple[dict[float, float], ...]


def choose_label_penalty(
    heads: Sequence[Head],
    features: Sequence[Any],
    labels: Tensor,
    strengths: Sequence[float],
    *,
    seed: int,
    report: Callable[[int], object],
    groups: Sequence[str] = (),
) -> LabelPenalty | None:
    """Chooses the head and the strengths of the lowest loss in cross-validation.

    The problems of the labels are independent, so each label gets the strength that is best for it; one with few photos
    gets that of the lowest sum over all labels.

    Args:
        heads: Heads with a linear output layer, on the device of the features; not changed.
        features: What each head caches of the photos.
        labels: Multi-hot ``(N, labels)``.
        strengths: Strengths to try, from strong to weak.
        seed: Seeds the folds.
        report: Called with the number of heads that are done.
        groups: As in `zoo.training.frozen.solver.cross_validate`.

    Returns:
        None if the groups are too few to hold one out.

    Raises:
        TrainingError: The loss is not finite, or the variance of the features is infinite.
    """
    found: list[tuple[float, int, tuple[float, ...]]] = []
    compared = []
    for number, (head, pooled) in enumerate(zip(heads, features, strict=True)):
        report(number)
        logits, targets = predict_held_out(head, pooled, labels, strengths, seed=seed, groups=groups)
        if not logits:
            return None
        losses = torch.stack([_losses_by_label(head, each, targets) for each in logits])
        shared, best = int(losses.sum(dim=1).argmin()), losses.argmin(dim=0)
        positives = targets.sum(dim=0, dtype=torch.int64)
        rare = torch.minimum(positives, len(targets) - positives) < _MIN_PHOTOS
        best = torch.where(rare, shared, best)
        total = float(losses.gather(0, best[None]).sum())
        found.append((total, number, tuple(strengths[each] for each in best.tolist())))
        compared.append(dict(zip(strengths, losses.sum(dim=1).tolist(), strict=True)))
    report(len(heads))
    _, number, chosen = min(found)
    return LabelPenalty(number=number, strengths=chosen, losses=tuple(compared))


def count_deciding(labels: Tensor) -> int:
    """Returns how many photos the choice for the most balanced label rests on: the fewer of those with and without it.

    Args:
        labels: Multi-hot ``(N, labels)``.
    """
    positives = labels.sum(dim=0, dtype=torch.int64)
    return int(torch.minimum(positives, len(labels) - positives).max())


def _losses_by_label(head: Head, logits: Tensor, targets: Tensor) -> Tensor:
    """Returns the mean negative log-likelihood of each label, weighted as in training, float32 ``(labels,)``."""
    probabilities = head.probabilities(logits)
    true = torch.where(targets.bool(), probabilities, 1 - probabilities)
    losses = -true.clamp(min=torch.finfo(torch.float32).tiny).log()
    return (losses * head.criterion.weigh_labels(targets, losses)).mean(dim=0)
