"""Learning-rate schedules as pure functions of the step: ``factor(step, steps, options)``, all in plain Python."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo_schedules.options import FallOptions, OneCycleOptions, StableOptions


def constant(step: int, steps: int, options: object) -> float:
    """Returns 1 at every step."""
    return 1.0


def cosine(step: int, steps: int, options: FallOptions) -> float:
    """Falls from 1 along half a cosine (Loshchilov & Hutter 2017, https://arxiv.org/abs/1608.03983)."""
    return _fall(_half_cosine(step / max(1, steps)), options.end)


def linear(step: int, steps: int, options: FallOptions) -> float:
    """Falls from 1 linearly."""
    return _fall(1 - step / max(1, steps), options.end)


def one_cycle(step: int, steps: int, options: OneCycleOptions) -> float:
    """Rises to 1, then falls, each along half a cosine (Smith & Topin 2018, https://arxiv.org/abs/1708.07120)."""
    peak = round(options.rise * steps)
    if step < peak:
        return options.start + (1 - options.start) * (1 - _half_cosine(step / peak))
    return _fall(_half_cosine((step - peak) / max(1, steps - peak)), options.end)


def warmup_stable_decay(step: int, steps: int, options: StableOptions) -> float:
    """Stays at 1, then falls in the last steps (Hu et al. 2024, https://arxiv.org/abs/2404.06395).

    The shape ``1-sqrt`` is that of Hägele et al. 2024, https://arxiv.org/abs/2405.18392. The warmup is that of the
    engine.
    """
    falling = round(options.decay * steps)
    done = (step - (steps - falling)) / max(1, falling)
    if done <= 0:
        return 1.0
    height = {"1-sqrt": 1 - math.sqrt(done), "linear": 1 - done, "cosine": _half_cosine(done)}[options.shape]
    return _fall(height, options.end)


def _half_cosine(done: float) -> float:
    """Falls from 1 to 0 while `done` goes from 0 to 1."""
    return (1 + math.cos(math.pi * done)) / 2


def _fall(height: float, end: float) -> float:
    """Scales a fall from 1 to 0 to one from 1 to `end`."""
    return end + (1 - end) * height
