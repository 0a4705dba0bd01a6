"""The built-in optimizers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import zoo

if TYPE_CHECKING:
    from zoo.plugins.specs import OptimizerSpec


@zoo.hookimpl
def zoo_optimizers() -> list[OptimizerSpec]:
    """Returns the optimizers."""
    return []
