"""Estimates the memory that an attempt needs, from what earlier ones needed. Pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.training.best.attempts import JOIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.training.best.attempts import Attempt, Outcome

_SHARE = 0.9  # of the available memory: other programs need some, too


def find_missing_memory(attempt: Attempt, outcomes: Sequence[Outcome], available: int | None) -> str:
    """Returns why an attempt is not made: it needs more memory than there is. Empty if it may be made.

    Args:
        attempt: The attempt.
        outcomes: What was tried. Until something was trained on all photos, nothing is left out.
        available: Bytes that are available; None if that is unknown.
    """
    if available is None or not any(each.complete for each in outcomes):
        return ""
    needed = estimate_memory(attempt, outcomes)
    if needed <= _SHARE * available:
        return ""
    return f"it would need {needed / 1e9:.1f} GB of memory, and {available / 1e9:.1f} GB are available"


def estimate_memory(attempt: Attempt, outcomes: Sequence[Outcome]) -> float:
    """Returns the bytes that an attempt needs; 0 if nothing similar was measured.

    They grow with the area of the images. Probes tell of probes, and fine-tuning of fine-tuning, which needs at least
    as much as a probe. Members of a joined backbone run one after the other, but each keeps what it has allocated.
    """
    measured = [each for each in outcomes if each.memory and each.attempt.is_probe == attempt.is_probe]
    measured = measured or [each for each in outcomes if each.memory]
    same = [each for each in measured if each.attempt.source == attempt.source]
    if not same and attempt.source.is_joined:
        return sum(
            _largest([each for each in measured if each.attempt.source.backbone == name], attempt)
            for name in attempt.source.backbone.split(JOIN)
        )
    return _largest(same or measured, attempt)


def _largest(outcomes: Sequence[Outcome], attempt: Attempt) -> float:
    sizes = ((each.memory, attempt.image_size / each.attempt.image_size) for each in outcomes)
    return max((memory * max(1.0, ratio**2) for memory, ratio in sizes), default=0.0)
