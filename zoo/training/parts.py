"""The parts of a training that plugins offer, besides backbone, head, loss and data: found by name, options checked."""

from __future__ import annotations

import dataclasses
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.config import AUTO, FinetuneConfig
from zoo.errors import ConfigError, ZooError
from zoo.plugins.kinds import TRACKER
from zoo.recipes import find_recipe, recipe_batch_size

if TYPE_CHECKING:
    from zoo.plugins.registry import Choice, Offer, Registry
    from zoo.plugins.specs import RecipeSpec, TrackerSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a configuration names, each with its options.

    Attributes:
        trackers: The trackers, each with its options.
        recipes: The recipe and those that it extends, as far as plugins offer them.
        batch_size: The batch size of the recipe if that of the configuration is ``"auto"``; otherwise None.
    """

    trackers: tuple[Choice[TrackerSpec], ...]
    recipes: tuple[Offer[RecipeSpec], ...]
    batch_size: int | None


def find_parts(config: FinetuneConfig, registry: Registry) -> Parts:
    """Returns the parts that a configuration names. Imports no torch.

    Raises:
        UnknownNameError: No plugin offers a name.
        ConfigError: An option is unknown, missing or invalid.
    """
    batch_size = _find_batch_size(config, registry) if config.batch_size == AUTO else None
    return Parts(
        trackers=_find_trackers(config, registry), recipes=_find_recipes(config, registry), batch_size=batch_size
    )


def drop_missing_trackers(config: FinetuneConfig, registry: Registry) -> tuple[FinetuneConfig, str]:
    """Returns the configuration of a run to resume without trackers if one is missing here, and why; else as it is.

    Trackers decide nothing about the result, so a run can be resumed without them.
    """
    try:
        _find_trackers(config, registry)
    except ZooError as error:
        text = f"The run goes on without trackers: {error.message}"
        return dataclasses.replace(config, tracker=(), tracker_options={}), text
    return config, ""


def _find_trackers(config: FinetuneConfig, registry: Registry) -> tuple[Choice[TrackerSpec], ...]:
    choices = registry.choose_all(TRACKER, config.tracker, config.tracker_options)
    for choice in choices:
        if missing := [name for name in choice.spec.needs if not _is_installed(name)]:
            raise ConfigError(
                f"The tracker {choice.spec.name} needs the package {missing[0]}, which is not installed.",
                hint=f"pip install '{choice.spec.install or missing[0]}'",
            )
    return choices


def _is_installed(module: str) -> bool:
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.origin is not None  # else a folder of that name, such as ./wandb


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
