"""Assigns the photos of a cross-validation to folds, by class and by group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from zoo.data.sources.allocation import allocate_folds, count_labels
from zoo.data.sources.stratify import draw_stratified

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

FOLDS = 5


def assign_folds(labels: Tensor, groups: Sequence[str]) -> Tensor:
    """Returns the fold of each photo, int64 ``(N,)``; -1 for photos that are only trained on.

    Args:
        labels: int64 ``(N,)``, or multi-hot ``(N, outputs)``.
        groups: The group of each photo; or nothing if there are no groups.
    """
    if groups:
        return _stratify_groups(labels, groups)
    return _stratify(labels) if labels.ndim == 1 else _stratify_labels(labels)


def _stratify_labels(targets: Tensor) -> Tensor:
    """Returns the fold of each photo; the photos of each label, and those without one, are spread over the folds.

    Args:
        targets: Multi-hot ``(N, labels)``.
    """
    labels = [np.flatnonzero(row).tolist() for row in targets.cpu().numpy()]
    folds, left = np.zeros(len(labels), dtype=np.int64), np.arange(len(labels))
    for fold in range(FOLDS - 1, 0, -1):
        drawn = np.array(draw_stratified([labels[photo] for photo in left], 1 / (fold + 1)), dtype=bool)
        folds[left[drawn]], left = fold, left[~drawn]
    return torch.from_numpy(folds).to(targets.device)


def _stratify(labels: Tensor) -> Tensor:
    """Returns the fold of each photo; the photos of each class are spread evenly over the folds."""
    folds = torch.empty_like(labels)
    start = 0
    for label in labels.unique():
        places = (labels == label).nonzero()[:, 0]
        folds[places] = (torch.arange(len(places), device=labels.device) + start) % FOLDS
        start += len(places)  # so that the folds have the same size
    return folds


def _stratify_groups(labels: Tensor, groups: Sequence[str]) -> Tensor:
    """Returns the fold of each photo; those of a group are in one fold, or in none, -1, if a class has only that."""
    members: dict[str | int, list[int]] = {}
    for number, group in enumerate(groups):
        members.setdefault(group or number, []).append(number)
    values = labels.tolist()
    sets = [(each,) if labels.ndim == 1 else tuple(np.flatnonzero(each).tolist()) for each in values]
    counts = [count_labels(sets[number] for number in numbers) for numbers in members.values()]
    folds = torch.zeros(len(labels), dtype=torch.int64, device=labels.device)
    for numbers, fold in zip(members.values(), allocate_folds(counts, FOLDS), strict=True):
        folds[numbers] = fold
    return folds
