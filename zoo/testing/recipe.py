"""The contract of a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.config import make_config
from zoo.errors import ZooError
from zoo.plugins.discovery import Plugin
from zoo.plugins.kinds import RECIPE
from zoo.plugins.options import NoOptions
from zoo.plugins.registry import Registry, load_registry
from zoo.testing.contract import Contract

if TYPE_CHECKING:
    from zoo.plugins.registry import Offer
    from zoo.plugins.specs import RecipeSpec

# What a user may set, and what the recipe must then allow.
_CASES: dict[str, dict[str, Any]] = {
    "a run with pretrained weights": {},
    "a run from scratch (weights='none')": {"weights": "none"},
    "a frozen backbone (freeze='all')": {"freeze": "all"},
}


def check_recipe(spec: RecipeSpec, *, plugin: Plugin | None = None) -> None:
    """Checks that a recipe makes valid configurations: with pretrained weights, from scratch, and frozen.

    Args:
        spec: The recipe, as returned by the hook ``zoo_recipes``.
        plugin: The plugin that offers it, with the recipes that it may extend; by default it is on its own.

    Raises:
        AssertionError: The recipe violates its contract; the message says what the contract requires.
    """
    contract = Contract(f"recipe {spec.name}")
    contract.require(bool(spec.summary), "it must have a summary, which 'zoo list recipes' shows")
    contract.require(spec.options is NoOptions, "it cannot have options of its own: users set the fields themselves")
    contract.require(
        any((spec.values, spec.from_scratch, spec.frozen, spec.extends)), "it must set a value: it is empty"
    )
    registry, offer = _find_offer(spec, plugin)
    for case, given in _CASES.items():
        if _excluded(spec, given):
            continue
        try:
            make_config(data="./photos", recipe=offer.name, registry=registry, **given)
        except ZooError as error:
            raise AssertionError(
                f"{contract.name}: it must make a valid configuration of {case}, but {error}"
            ) from error


def _excluded(spec: RecipeSpec, given: dict[str, Any]) -> bool:
    """Returns whether the recipe itself decides what would contradict the case: both of weights and freeze."""
    return (given.get("freeze") == "all" and spec.values.get("weights") == "none") or (
        given.get("weights") == "none" and spec.values.get("freeze") == "all" and "freeze" not in spec.from_scratch
    )


def _find_offer(spec: RecipeSpec, plugin: Plugin | None) -> tuple[Registry, Offer[RecipeSpec]]:
    """Returns a registry with the recipe, and its offer: that of the installed plugin if it is installed."""
    registry = load_registry()
    for offer in registry.offers(RECIPE):
        if offer.spec is spec:
            return registry, offer
    plugin = plugin or Plugin(
        key="plugin:plugin", qualifier="plugin", distribution="plugin", version="", offers={RECIPE.name: (spec,)}
    )
    registry = Registry((*registry.plugins, plugin))
    return registry, next(offer for offer in registry.offers(RECIPE) if offer.spec is spec)
