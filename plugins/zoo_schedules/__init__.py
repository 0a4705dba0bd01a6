"""The built-in schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import zoo

if TYPE_CHECKING:
    from zoo.plugins.specs import ScheduleSpec


@zoo.hookimpl
def zoo_schedules() -> list[ScheduleSpec]:
    """Returns the schedules."""
    return []
