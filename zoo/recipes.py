"""Recipes: layers of values for `zoo.FinetuneConfig`. The recipes themselves are plugins and TOML files.

This module finds a recipe and what it extends, and lays values over one another; `zoo.config` checks them.
docs/recipes.md shows the measurements behind the default.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from zoo.errors import ConfigError, PluginError, UnknownNameError
from zoo.plugins.calls import plugin_failure
from zoo.plugins.kinds import RECIPE
from zoo.plugins.specs import RecipeSpec
from zoo.utils.paths import path_text
from zoo.utils.text import short_repr
from zoo.utils.toml_file import SUFFIX, TomlFile, read_toml

if TYPE_CHECKING:
    from zoo.plugins.registry import Offer, Registry

TABLES = ("values", "from_scratch", "frozen")  # the fields of `RecipeSpec` that contain values
_OPTIONS = "_options"  # ends the names of fields that contain options
_TEXTS = ("summary", "extends")
_ABOUT_DATA = "It is about the data: pass it on the command line, or in a file with --config."
_DECIDES = "It decides whether this table applies: set it outside of the table."
# Fields that a recipe cannot set, and why; the last of them in one of its tables.
_REFUSED = {"data": _ABOUT_DATA, "data_options": _ABOUT_DATA, "recipe": "Write extends = NAME instead."}
_REFUSED_IN = {
    "values": _REFUSED,
    "from_scratch": {**_REFUSED, "weights": _DECIDES},
    "frozen": {**_REFUSED, "weights": _DECIDES, "freeze": _DECIDES},
}
_PATHS = ("data", "weights", "exclude", "labels", "groups", "recipe", "extends")  # fields that may be paths
_HERE = ("./", "../", ".\\", "..\\")
_SUFFIXES = (SUFFIX, ".csv", ".safetensors", ".pt", ".pth", ".bin", ".ckpt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A recipe of a plugin, or one of a file.

    Attributes:
        name: Its name as the user or another recipe gave it.
        spec: Its values.
        offer: The offer of the plugin; None for a file.
        file: The file; None for an offer.
    """

    name: str
    spec: RecipeSpec
    offer: Offer[RecipeSpec] | None = None
    file: TomlFile | None = None

    def error(self, message: str, *, table: str, key: str, hint: str = "") -> ConfigError | PluginError:
        """Returns the error about a value: with the line of the file, or with the plugin.

        Args:
            message: What is wrong with it, as a sentence.
            table: One of `TABLES`.
            key: The name of the value.
            hint: What to do.
        """
        if self.offer is not None:
            return plugin_failure(self.offer.plugin, f"setting the values of the recipe '{self.offer.name}'", message)
        assert self.file is not None
        return ConfigError(f"{self.file.locate(*_keys(table, key))}: {message}", hint=hint)

    def with_values(self, tables: Mapping[str, Mapping[str, Any]]) -> Recipe:
        """Returns the recipe with other values in its tables; their names are those in `TABLES`."""
        spec = replace(self.spec, values=tables["values"], from_scratch=tables["from_scratch"], frozen=tables["frozen"])
        return replace(self, spec=spec)


def find_recipe(name: str, registry: Registry) -> tuple[Recipe, ...]:
    """Returns a recipe, behind those that it extends, from the first to itself.

    Args:
        name: The name of a recipe, or the path of a file: it ends with ``.toml``.
        registry: The plugins.

    Raises:
        UnknownNameError: No plugin offers a name.
        ConfigError: A file is missing or wrong, or recipes extend one another in a circle.
        PluginError: A plugin's recipe extends what there is not.
    """
    recipe = _find_one(name, registry)
    chain, seen = [recipe], [_identity(recipe)]
    while chain[0].spec.extends:
        recipe = _find_extended(chain[0], registry)
        if _identity(recipe) in seen:
            circle = " extends ".join([each.name for each in reversed([recipe, *chain])])
            raise chain[0].error(f"recipes extend one another in a circle: {circle}.", table="values", key="extends")
        chain, seen = [recipe, *chain], [*seen, _identity(recipe)]
    for each in chain:
        _refuse_fields(each)
    return tuple(chain)


def recipe_values(recipes: Sequence[Recipe], given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of a recipe for a run.

    Args:
        recipes: The recipe and those that it extends, as from `find_recipe`.
        given: What the user set, which takes precedence. It decides with the values of the recipes whether a run starts
            from scratch and whether its backbone is frozen.
    """
    plain: dict[str, Any] = {}
    for recipe in recipes:
        plain = overlay(plain, recipe.spec.values)
    names = ("values", "from_scratch") if {**plain, **given}.get("weights") == "none" else ("values",)
    decided = {key: value for recipe in recipes for name in names for key, value in _table(recipe, name).items()}
    if {**decided, **given}.get("freeze") == "all":
        names = (*names, "frozen")
    values: dict[str, Any] = {}
    for recipe in recipes:
        for name in names:
            values = overlay(values, _table(recipe, name))
    return overlay(values, given)


def recipe_batch_size(name: str, registry: Registry, *, default: int) -> int:
    """Returns the batch size of a recipe, or that of the last one that it extends if its own is ``"auto"``."""
    sizes = [recipe.spec.values.get("batch_size", "auto") for recipe in find_recipe(name, registry)]
    return next((int(size) for size in reversed(sizes) if size != "auto"), default)


def overlay(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of `base`, replaced by those of `over`.

    Options of the same part are merged: ``head_options`` of `over` are added to those of `base`, unless `over` names
    another ``head``.
    """
    merged = {**base, **over}
    for name, options in base.items():
        if not name.endswith(_OPTIONS) or not isinstance(options, Mapping):
            continue
        owner = name.removesuffix(_OPTIONS)
        if owner in over and over[owner] != base.get(owner):
            merged[name] = over.get(name, {})
        elif isinstance(over.get(name), Mapping):
            merged[name] = {**options, **over[name]}
    return merged


def read_settings_file(path: str | os.PathLike[str]) -> tuple[TomlFile, dict[str, Any]]:
    """Returns a file of settings, and its values with paths that lead from here.

    Raises:
        ConfigError: The file is missing or not TOML, or has a table that only a recipe has.
    """
    file = read_toml(path)
    for name in (*_TEXTS, *TABLES):
        if name in file.values:
            raise ConfigError(
                f"{file.locate(name)}: '{name}' belongs into a recipe.",
                hint="A file for --config has the options of 'zoo finetune'. It can name a recipe: recipe = NAME. Pass "
                "a recipe with --recipe.",
            )
    return file, _resolve_paths(file)


@contextmanager
def located_options(*paths: str | os.PathLike[str]) -> Iterator[None]:
    """Makes an error about an option of a head, a loss and so on name the line, if one of these files sets it.

    Args:
        *paths: Recipes, and files of settings; names of recipes that plugins offer are left out.
    """
    try:
        yield
    except ConfigError as error:
        for path in [os.fspath(each) for each in paths]:
            place = ""
            with suppress(ConfigError):  # the file of a run that is repeated may be gone
                place = _find_option(error.message, path)
            if place:
                raise ConfigError(f"{place}: {error.message}", hint=error.hint) from error
        raise


def _find_option(message: str, path: str) -> str:
    """Returns where a file, or one that it extends, sets the option that a message is about, or an empty string."""
    seen: set[str] = set()
    while is_recipe_file(path) and os.path.realpath(path) not in seen:
        seen.add(os.path.realpath(path))
        file = read_toml(path)
        for name, options in file.values.items():
            if not name.endswith(_OPTIONS) or not isinstance(options, dict):
                continue
            for key in options:
                # The messages of `zoo.plugins.options` begin with the kind, and have the option in quotes.
                if message.startswith(name.removesuffix(_OPTIONS)[:4]) and f"'{key.rpartition('.')[2]}'" in message:
                    return file.locate(name, key)
        values = _resolve_paths(file)
        path = str(values.get("extends") or values.get("recipe") or "")
    return ""


def is_recipe_file(name: str) -> bool:
    """Returns whether a recipe is given by the path of a file."""
    return name.lower().endswith(SUFFIX) or name.startswith(("/", "~", *_HERE))


def _find_one(name: str, registry: Registry) -> Recipe:
    if is_recipe_file(name):
        return _read_recipe(name)
    try:
        offer = registry.find(RECIPE, name)
    except UnknownNameError as error:
        error.hint = f"{error.hint} A file is given by its path, which ends with {SUFFIX}.".strip()
        raise
    return Recipe(name=name, spec=offer.spec, offer=offer)


def _find_extended(recipe: Recipe, registry: Registry) -> Recipe:
    name = recipe.spec.extends
    if recipe.offer is not None and is_recipe_file(name):
        raise recipe.error(f"it extends the file {short_repr(name)}.", table="values", key="extends")
    try:
        return _find_one(name, registry)
    except (ConfigError, UnknownNameError) as error:
        raise recipe.error(error.message, table="values", key="extends", hint=error.hint) from error


def _identity(recipe: Recipe) -> str:
    if recipe.offer is not None:
        return recipe.offer.name
    assert recipe.file is not None
    return os.path.realpath(recipe.file.path)


def _read_recipe(name: str) -> Recipe:
    file = read_toml(name)
    values = _resolve_paths(file)
    for key in _TEXTS:
        if key in values and not (isinstance(values[key], str) and values[key]):
            raise ConfigError(f"{file.locate(key)}: '{key}' is {short_repr(values[key])}, not text.")
    for key in TABLES[1:]:
        if key in values and not isinstance(values[key], dict):
            hint = f"Write [{key}] on a line of its own."
            raise ConfigError(f"{file.locate(key)}: '{key}' is not a table.", hint=hint)
    own = {key: value for key, value in values.items() if key not in (*_TEXTS, *TABLES[1:])}
    rest = {key: values[key] for key in (*_TEXTS, *TABLES[1:]) if key in values}
    return Recipe(name=name, spec=RecipeSpec(name="file", values=own, **rest), file=file)


def _resolve_paths(file: TomlFile) -> dict[str, Any]:
    """Returns the values of a file. Paths that begin with ``./`` or have a known suffix count from its folder."""
    return {
        key: path_text(file.path.parent / value) if key in _PATHS and _is_path(value) else value
        for key, value in file.values.items()
    }


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and (value.startswith(_HERE) or value.lower().endswith(_SUFFIXES))


def _refuse_fields(recipe: Recipe) -> None:
    for table in TABLES:
        for key in _table(recipe, table):
            if reason := _REFUSED_IN[table].get(key):
                place = f"[{table}]" if table != "values" else "a recipe"
                raise recipe.error(f"{place} cannot set '{key}'.", table=table, key=key, hint=reason)


def _table(recipe: Recipe, name: str) -> Mapping[str, Any]:
    table: Mapping[str, Any] = getattr(recipe.spec, name)
    return table


def _keys(table: str, key: str) -> tuple[str, ...]:
    return (key,) if table == "values" else (table, key)
