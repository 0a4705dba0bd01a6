"""The built-in learning-rate schedules. Importing it imports no torch."""

from __future__ import annotations

import zoo
from zoo_schedules.options import FallOptions, OneCycleOptions, StableOptions


@zoo.hookimpl
def zoo_schedules() -> list[zoo.ScheduleSpec]:
    """Returns the five schedules."""
    return [
        zoo.ScheduleSpec(
            name="constant",
            summary="Keeps the rate after the warmup.",
            factor="zoo_schedules.schedules:constant",
        ),
        zoo.ScheduleSpec(
            name="cosine",
            summary="Falls along half a cosine.",
            factor="zoo_schedules.schedules:cosine",
            options=FallOptions,
        ),
        zoo.ScheduleSpec(
            name="linear",
            summary="Falls linearly.",
            factor="zoo_schedules.schedules:linear",
            options=FallOptions,
        ),
        zoo.ScheduleSpec(
            name="one-cycle",
            summary="Rises along half a cosine, without a warmup, then falls far below its start.",
            factor="zoo_schedules.schedules:one_cycle",
            options=OneCycleOptions,
            warms_up=True,
        ),
        zoo.ScheduleSpec(
            name="warmup-stable-decay",
            summary="Keeps the rate after the warmup, and falls in the last steps.",
            factor="zoo_schedules.schedules:warmup_stable_decay",
            options=StableOptions,
        ),
    ]
