"""The built-in losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import zoo

if TYPE_CHECKING:
    from zoo.plugins.specs import LossSpec


@zoo.hookimpl
def zoo_losses() -> list[LossSpec]:
    """Returns the losses."""
    return []
