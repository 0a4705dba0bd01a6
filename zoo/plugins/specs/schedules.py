"""Learning-rate schedules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zoo.plugins.specs.base import Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSpec(Spec):
    """A learning-rate schedule.

    Attributes:
        factor: Returns the factor on the learning rate, 0 or more, at a step: ``factor(step, steps, options)`` with the
            step from 0 to ``steps - 1``, counted over all epochs after the warmup, and an instance of `options`. A pure
            function: the same number for the same arguments, which may come in any order.
        warms_up: Whether it rises from a low factor itself, so that ``warmup`` is not used.
    """

    factor: Callable[[int, int, Any], float] | str
    warms_up: bool = False
