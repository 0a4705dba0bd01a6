"""Decision thresholds of a multi-label classifier, one per label, chosen on photos that did not train it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zoo.config.threshold_rule import ThresholdRule

NEUTRAL = 0.5  # of a label for which nothing can be chosen
_LISTED = 5  # labels in a note


class Thresholds(NamedTuple):
    """Chosen thresholds.

    Attributes:
        values: One per label, 0 to 1; each is exactly a float32, so that all programs decide alike.
        notes: A sentence for each thing that users should know about them.
    """

    values: tuple[float, ...]
    notes: tuple[str, ...]


class _Cuts(NamedTuple):
    """The places at which the photos, sorted by the probability of a label, can be cut in two.

    Attributes:
        threshold: What accepts the photos before each cut, float32 ``(K,)``, descending.
        precision: Of the accepted photos, float64 ``(K,)``.
        recall: Of the photos with the label, float64 ``(K,)``.
        f1: The harmonic mean of the two, float64 ``(K,)``.
    """

    threshold: NDArray[np.float32]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]


def choose_thresholds(
    probabilities: NDArray[Any], targets: NDArray[Any], rule: ThresholdRule, classes: Sequence[str]
) -> Thresholds:
    """Chooses the threshold of each label: a photo has the label if its probability is not below it.

    A threshold lies halfway between the probabilities of the last photo that it accepts and of the first that it
    rejects. Of several that are equally good, it is the one closest to 0.5.

    Args:
        probabilities: ``(N, labels)`` float, 0 to 1, at least one photo.
        targets: ``(N, labels)``, 1 where a photo has a label and 0 elsewhere.
        rule: The rule.
        classes: The names of the labels.
    """
    if rule.goal == "fixed":
        return Thresholds((float(np.float32(rule.value)),) * len(classes), ())
    values, absent, missed = [], [], []
    for name, scores, own in zip(classes, probabilities.T, targets.T, strict=True):
        if not own.any():
            absent.append(name)
            values.append(NEUTRAL)
            continue
        cuts = _find_cuts(scores.astype(np.float32), own.astype(bool))
        chosen, reached = _choose_cut(cuts, rule)
        values.append(float(cuts.threshold[chosen]))
        if not reached:
            missed.append(f"{name} ({100 * cuts.precision[chosen]:.0f} %)")
    notes = []
    if absent:
        notes.append(f"No validation photo has {_list(absent, 'the label')}: the threshold is {NEUTRAL}.")
    if missed:
        wanted = f"{100 * rule.value:g} %"
        notes.append(f"No threshold gives a precision of {wanted} on validation photos for {_list(missed, 'label')}.")
    return Thresholds(tuple(values), tuple(notes))


def decide(probabilities: NDArray[Any], thresholds: Sequence[float]) -> NDArray[np.bool_]:
    """Returns which labels each photo is decided to have, bool ``(N, labels)``.

    Args:
        probabilities: ``(N, labels)`` float32.
        thresholds: One per label.
    """
    decided: NDArray[np.bool_] = probabilities >= np.asarray(thresholds, dtype=np.float32)
    return decided


def _find_cuts(scores: NDArray[np.float32], own: NDArray[np.bool_]) -> _Cuts:
    """Returns the cuts of a label with at least one photo; equal probabilities are never cut apart."""
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], own[order].cumsum()
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))  # of each group of equal probabilities
    accepted, after = ordered[last], np.append(ordered[last[1:]], np.float32(0))
    middle = (accepted + after) / np.float32(2)
    count, found = last + 1, hits[last]
    return _Cuts(
        threshold=np.where((middle > after) & (middle <= accepted), middle, accepted),
        precision=found / count,
        recall=found / hits[-1],
        f1=2 * found / (count + hits[-1]),
    )


def _choose_cut(cuts: _Cuts, rule: ThresholdRule) -> tuple[int, bool]:
    """Returns the best cut, and whether it reaches what the rule asks for."""
    distance = -np.abs(cuts.threshold - NEUTRAL)
    keys: tuple[NDArray[Any], ...] = (distance, cuts.f1)
    reached = np.ones(len(cuts.f1), dtype=bool)
    if rule.goal == "precision":
        reached = cuts.precision >= rule.value
        keys = (distance, cuts.precision, cuts.recall) if reached.any() else (distance, cuts.recall, cuts.precision)
    elif rule.goal == "recall":
        reached = cuts.recall >= rule.value  # the last cut accepts all photos
        keys = (distance, cuts.recall, cuts.precision)
    candidates = np.flatnonzero(reached) if reached.any() else np.arange(len(reached))
    best = np.lexsort(tuple(key[candidates] for key in keys))[-1]
    return int(candidates[best]), bool(reached.any())


def _list(names: Sequence[str], noun: str) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{noun}{'s' if len(names) > 1 else ''} {', '.join(names[:_LISTED])}{more}"
