"""The parts of a training that plugins offer, besides backbone, head, loss and data: found by name, options checked."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.config import AUTO, FinetuneConfig
from zoo.errors import ZooError
from zoo.recipes import find_recipe, recipe_batch_size

if TYPE_CHECKING:
    from zoo.plugins.registry import Offer, Registry
    from zoo.plugins.specs import RecipeSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a configuration names, each with its options.

    Attributes:
        recipes: The recipe and those that it extends, as far as plugins offer them.
        batch_size: The batch size of the recipe if that of the configuration is ``"auto"``; otherwise None.
    """

    recipes: tuple[Offer[RecipeSpec], ...]
    batch_size: int | None


def find_parts(config: FinetuneConfig, registry: Registry) -> Parts:
    """Returns the parts that a configuration names. Imports no torch.

    Raises:
        UnknownNameError: No plugin offers a name.
        ConfigError: An option is unknown, missing or invalid.
    """
    batch_size = _find_batch_size(config, registry) if config.batch_size == AUTO else None
    return Parts(recipes=_find_recipes(config, registry), batch_size=batch_size)


def _find_recipes(config: FinetuneConfig, registry: Registry) -> tuple[Offer[RecipeSpec], ...]:
    try:
        recipes = find_recipe(config.recipe, registry)
    except ZooError:  # a resumed run has the values of its recipe, which may be gone
        return ()
    return tuple(recipe.offer for recipe in recipes if recipe.offer is not None)


def _find_batch_size(config: FinetuneConfig, registry: Registry) -> int:
    fields = dataclasses.fields(FinetuneConfig)
    default: Any = next(field.default for field in fields if field.name == "batch_size")
    return recipe_batch_size(config.recipe, registry, default=default)
