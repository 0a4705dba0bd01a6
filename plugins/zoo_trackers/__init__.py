"""The built-in trackers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import zoo

if TYPE_CHECKING:
    from zoo.plugins.specs import TrackerSpec


@zoo.hookimpl
def zoo_trackers() -> list[TrackerSpec]:
    """Returns the trackers."""
    return []
