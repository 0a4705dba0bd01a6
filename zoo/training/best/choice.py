"""Chooses among trainings by their scores on photos that they did not train on. Pure functions.

The photos are the same for all, so differences are paired. The first backbone, trained as `zoo finetune` does without a
search, is the reference. Three rules keep a search from following chance, because the best of many is partly the
luckiest:

- The probe of the reference stays unless the loss of another one is lower beyond doubt, by a one-sided paired test at
  5 %. Of those, the one with the lowest loss is taken.
- Fine-tuning replaces that probe only if its validation loss is lower beyond doubt, too: at 5 % divided by the number
  of fine-tuned networks that are looked at (Bonferroni), except that of the reference, which is no pick of many.
- Of fine-tuned networks that do not clearly differ, the cheaper is taken: it may lose by at most one standard error of
  the paired difference to the lowest loss (the one-standard-error rule, Breiman et al. 1984, section 3.4.3).
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from zoo.training.scores import CROSS_VALIDATION, VALIDATION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zoo.training.best.attempts import Outcome, Source

_LEVEL = 0.05
_DOUBT = NormalDist().inv_cdf(1 - _LEVEL)  # standard errors
_NOTICEABLE = 0.9  # of the cost: what saves less is not cheaper


class PairedLoss(NamedTuple):
    """How much lower the loss of a second training is on the same photos.

    Attributes:
        gain: Mean difference; positive if the second is better.
        error: Its standard error; infinite with fewer than two photos.
    """

    gain: float
    error: float

    @classmethod
    def of(cls, first: NDArray[np.float32], second: NDArray[np.float32]) -> PairedLoss:
        """Compares the losses ``(N,)`` of two trainings, photo by photo."""
        gains = first.astype(np.float64) - second
        error = float(gains.std(ddof=1)) / math.sqrt(len(gains)) if len(gains) > 1 else math.inf
        return cls(float(gains.mean()), error)

    def exceeds(self, errors: float) -> bool:
        """Returns whether the second is better by more than a number of standard errors."""
        return self.gain > errors * self.error


def choose(outcomes: Sequence[Outcome], reference: Source | None = None) -> Outcome | None:
    """Returns the best of the outcomes that were trained on all photos; None without any.

    If there is none, the best of those on the most photos is taken.

    Args:
        outcomes: What was tried.
        reference: The backbone that is trained without a search; without it, no probe has a privilege.
    """
    done = [each for each in outcomes if each.done]
    if not done:
        return None
    most = max(each.attempt.photos or math.inf for each in done)
    last = [each for each in done if (each.attempt.photos or math.inf) == most]
    probes = [each for each in last if each.attempt.is_probe]
    tuned = [each for each in last if each.tuned]
    if not probes:
        return choose_cheapest(tuned or last)
    probe = _choose_probe(probes, reference)
    several = NormalDist().inv_cdf(1 - _LEVEL / max(1, len(tuned)))
    better = [
        each
        for each in tuned
        if compare_validation(probe, each).exceeds(_DOUBT if is_default(each, reference) else several)
    ]
    return choose_cheapest(better) if better else probe


def is_default(outcome: Outcome, reference: Source | None) -> bool:
    """Returns whether an outcome is what `zoo finetune` would have trained, but for the search."""
    attempt = outcome.attempt
    same = attempt.source == reference and attempt.is_native
    return same and attempt.photos is None and not attempt.values


def _choose_probe(probes: Sequence[Outcome], reference: Source | None) -> Outcome:
    """Returns the probe of the reference, or the best of those that are better beyond doubt."""
    own = [each for each in probes if each.attempt.source == reference and each.attempt.is_native]
    if not own:
        return choose_cheapest(probes)
    losses = find_losses([own[0], *probes])
    better = [
        each for each, found in zip(probes, losses[1:], strict=True) if PairedLoss.of(losses[0], found).exceeds(_DOUBT)
    ]
    return rank(better)[0] if better else own[0]


def choose_cheapest(outcomes: Sequence[Outcome]) -> Outcome:
    """Returns the cheapest at prediction of the outcomes whose loss is at most one standard error above the lowest.

    Args:
        outcomes: At least one, all trained on the same photos.
    """
    losses = dict(zip(map(id, outcomes), find_losses(outcomes), strict=True))
    best, *others = rank(outcomes)
    chosen = best
    for each in others:
        close = not PairedLoss.of(losses[id(each)], losses[id(best)]).exceeds(1.0)
        if close and each.milliseconds < _NOTICEABLE * chosen.milliseconds:
            chosen = each
    return chosen


def rank(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Returns outcomes that were trained on the same photos, the lowest mean loss first."""
    means = [float(each.mean()) for each in find_losses(outcomes)]
    return [outcomes[number] for number in sorted(range(len(outcomes)), key=means.__getitem__)]


def find_losses(outcomes: Sequence[Outcome]) -> list[NDArray[np.float32]]:
    """Returns the losses of outcomes on the photos that say most about all of them.

    Those are the photos of cross-validation for probes, if it was possible, and otherwise those of validation.
    """
    crossed = all(each.attempt.is_probe and CROSS_VALIDATION in each.scores for each in outcomes)
    return [each.scores[CROSS_VALIDATION if crossed else VALIDATION].losses for each in outcomes]


def compare_validation(first: Outcome, second: Outcome) -> PairedLoss:
    """Compares two outcomes on the validation photos."""
    return PairedLoss.of(first.scores[VALIDATION].losses, second.scores[VALIDATION].losses)
