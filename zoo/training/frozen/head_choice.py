"""Chooses what a head reads of frozen features, and the strength of its penalty, by cross-validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.training.frozen.label_penalty import LabelPenalty, choose_label_penalty, count_deciding
from zoo.training.frozen.solver import cross_validate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from zoo.plugins.contracts import Head

STRENGTHS = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001)  # of the penalty; the best of all sets tried are among them
START = 0.03  # of the penalty, at least, for the head from which fine-tuning starts
_STRENGTH = 0.1  # for heads without a linear output layer
_MIN_PER_CLASS = 4  # photos of the smallest class, below which cross-validation decides nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A head that might be fitted.

    Attributes:
        options: The head options that differ from those of the configuration.
        head: The head, on the device.
    """

    options: Mapping[str, Any]
    head: Head


def choose_head(
    candidates: Sequence[Candidate],
    features: Sequence[Any],
    labels: Tensor,
    *,
    classes: int,
    strength: float | str,
    seed: int,
    groups: Sequence[str] = (),
    draws: Sequence[float] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[int, dict[str, Any]]:
    """Returns the number of the best candidate, and what the run record contains about the choice.

    Args:
        candidates: The heads to choose from.
        features: What each of them caches of all photos.
        labels: int64 ``(N,)``, or multi-hot ``(N, classes)``: each label then gets a strength of its own.
        classes: Number of classes.
        strength: Strength of the penalty; ``"auto"`` for that of the lowest loss in cross-validation.
        seed: Seeds the folds.
        groups: As in `zoo.training.frozen.solver.cross_validate`.
        draws: As in `zoo.training.frozen.solver.fit_head`.
        progress: Called with the number of heads done, and of all.
    """
    strengths = STRENGTHS if isinstance(strength, str) else (strength,)
    multi_label = labels.ndim == 2
    smallest = count_deciding(labels) if multi_label else int(labels.bincount(minlength=classes).min())
    linear = all(candidate.head.output_layer is not None for candidate in candidates)

    def choose_first(reason: str) -> tuple[int, dict[str, Any]]:
        default = START if linear else _STRENGTH
        chosen = default if isinstance(strength, str) else strength
        return 0, {"options": dict(candidates[0].options), "strength": chosen, "reason": f"not compared: {reason}"}

    if smallest < _MIN_PER_CLASS:
        return choose_first("too few photos of a class")
    if not linear or len(candidates) * len(strengths) == 1:
        return choose_first("no other candidate")
    if multi_label:
        found = choose_label_penalty(
            [candidate.head for candidate in candidates],
            features,
            labels,
            strengths,
            seed=seed,
            groups=groups,
            report=lambda done: progress(done, len(candidates)),
        )
        return choose_first("too few groups") if found is None else _describe(candidates, found)
    rows: list[tuple[float, int, float]] = []
    for number, candidate in enumerate(candidates):
        progress(number, len(candidates))
        losses = cross_validate(
            candidate.head, features[number], labels, strengths, seed=seed, groups=groups, draws=draws
        )
        rows += [(loss, number, value) for value, loss in losses.items()]
    progress(len(candidates), len(candidates))
    if not rows:
        return choose_first("too few groups")
    _, best, chosen = min(rows)
    compared = [
        {"options": dict(candidates[number].options), "strength": value, "loss": loss} for loss, number, value in rows
    ]
    reason = "the lowest loss in 5-fold cross-validation"
    return best, {"options": dict(candidates[best].options), "strength": chosen, "reason": reason, "compared": compared}


def _describe(candidates: Sequence[Candidate], chosen: LabelPenalty) -> tuple[int, dict[str, Any]]:
    """Returns the result of `choose_head` for several labels per photo: ``strength`` has one number per label."""
    compared = [
        {"options": dict(candidate.options), "strength": strength, "loss": loss}
        for candidate, losses in zip(candidates, chosen.losses, strict=True)
        for strength, loss in losses.items()
    ]
    reason = "the lowest loss of each label in 5-fold cross-validation"
    options, strengths = dict(candidates[chosen.number].options), list(chosen.strengths)
    return chosen.number, {"options": options, "strength": strengths, "reason": reason, "compared": compared}
