"""Makes configurations of recipes, files and single values, all of which it checks."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from zoo.config.finetune_config import FinetuneConfig
from zoo.config.values import NAMES_OF, OPTIONS_OF, OWNER, check_mapping, check_names, to_plain
from zoo.errors import ConfigError, did_you_mean
from zoo.plugins.options import check_value, describe_options
from zoo.utils.arguments import check_argument

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from zoo.plugins.registry import Registry
    from zoo.plugins.specs import ImageSet
    from zoo.recipes import Recipe


def make_config(
    backbone: str | None = None,
    *,
    data: str | os.PathLike[str] | ImageSet,
    recipe: str | os.PathLike[str] = "default",
    registry: Registry | None = None,
    **values: Any,
) -> FinetuneConfig:
    """Returns a validated configuration: the values of a recipe, overridden by those given.

    Args:
        backbone: Name of a backbone, or ``"auto"``; None for that of the recipe, if it has one, or else ``"auto"``.
        data: Name of a dataset, a folder or a CSV file; or an `ImageSet`.
        recipe: Name of a recipe, or the path of a TOML file (docs/recipes.md).
        registry: The plugins, which offer the recipes; by default those of the environment.
        **values: Fields of `FinetuneConfig`; text is parsed as on the command line.

    Raises:
        ConfigError: A field is unknown, or a value has the wrong type or is out of bounds; the message names the
            option, and the file and the line if it is in one.
        UnknownNameError: There is no such recipe.
    """
    # Imported only now, so that a configuration can be created without the plugins.
    from zoo.plugins.registry import REGISTRY, load_registry
    from zoo.recipes import find_recipe, recipe_values

    check_argument("make_config", "registry", registry, REGISTRY | None)
    named = {} if backbone is None else {"backbone": backbone}
    given = parse_values({**named, "data": data, "recipe": recipe, **values})
    recipes = find_recipe(given["recipe"], registry or load_registry())
    return FinetuneConfig(**recipe_values([_parse_recipe(each) for each in recipes], given))


def change_config(config: FinetuneConfig, values: Mapping[str, Any]) -> FinetuneConfig:
    """Returns a configuration with other values of some fields; text is parsed as on the command line.

    Options are added to those of the same head, loss and so on (`zoo.recipes.overlay`).

    Raises:
        ConfigError: As for `make_config`.
    """
    from zoo.recipes import overlay

    before = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return FinetuneConfig(**overlay(before, parse_values(values)))


def read_settings(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the values of a TOML file, as `make_config` and ``zoo finetune --config`` take them.

    Raises:
        ConfigError: The file is missing or not TOML, a field is unknown, or a value is wrong; the message names the
            line.
    """
    from zoo.recipes import read_settings_file

    file, values = read_settings_file(path)
    parsed: dict[str, Any] = {}
    for name, value in values.items():
        try:
            parsed |= parse_values({name: value})
        except ConfigError:
            parsed |= parse_values({name: value}, owner=file.locate(name))
    return parsed


def parse_values(values: Mapping[str, Any], *, owner: str = OWNER) -> dict[str, Any]:
    """Returns fields of `FinetuneConfig` with checked values; text is parsed as on the command line.

    Args:
        values: Values by field.
        owner: What begins messages.

    Raises:
        ConfigError: A field is unknown, or a value has the wrong type or is out of bounds.
    """
    infos = {info.name: info for info in describe_options(FinetuneConfig)}
    parsed: dict[str, Any] = {}
    for name, value in values.items():
        if name in infos:
            parsed[name] = check_value(infos[name], to_plain(name, value), owner=owner)
        elif name in OPTIONS_OF:
            parsed[name] = check_mapping(name, value, owner=owner)
        elif name in NAMES_OF:
            parsed[name] = check_names(name, value, owner=owner)
        else:
            near = did_you_mean(name, [*infos, *OPTIONS_OF, *NAMES_OF])
            hint = f"{near} 'zoo finetune --help' lists all options.".strip()
            raise ConfigError(f"{owner}: there is no option '{name}'.", hint=hint)
    return parsed


def _parse_recipe(recipe: Recipe) -> Recipe:
    """Returns a recipe with checked values."""
    from zoo.recipes import TABLES

    tables: dict[str, dict[str, Any]] = {name: {} for name in TABLES}
    for table in TABLES:
        for name, value in getattr(recipe.spec, table).items():
            try:
                tables[table] |= parse_values({name: value})
            except ConfigError as error:
                message = error.message.removeprefix(f"{OWNER}: ")
                raise recipe.error(message, table=table, key=name, hint=error.hint) from None
    return recipe.with_values(tables)
