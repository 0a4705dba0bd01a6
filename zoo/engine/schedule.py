"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math


def rate_factor(step: int, *, steps: int, schedule: str, warmup: float) -> float:
    """Returns the factor on the learning rate at a step.

    Args:
        step: From 0 to `steps` - 1, counted over all epochs.
        steps: Of the whole training.
        schedule: ``"constant"``; ``"cosine"``: to zero on half a cosine (Loshchilov & Hutter 2017,
            https://arxiv.org/abs/1608.03983); ``"linear"``: to zero on a line.
        warmup: Share of all steps in which the factor climbs from near 0 to 1 on a line.
    """
    climbing = round(warmup * steps)
    if step < climbing:
        return (step + 1) / (climbing + 1)
    if schedule == "constant":
        return 1.0
    done = (step - climbing) / max(1, steps - climbing)
    return 1 - done if schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
