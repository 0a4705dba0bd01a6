"""The built-in recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import zoo

if TYPE_CHECKING:
    from zoo.plugins.specs import RecipeSpec


@zoo.hookimpl
def zoo_recipes() -> list[RecipeSpec]:
    """Returns the recipes."""
    return []
