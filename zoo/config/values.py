"""Values of fields of `FinetuneConfig` that are more than one option of the command line, or are written otherwise."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from zoo.errors import ConfigError
from zoo.utils.paths import path_text
from zoo.utils.text import article, short_repr

OWNER = "finetune"
# Mappings of options, each with the kind of what has them.
OPTIONS_OF = {
    "backbone_options": "backbone",
    "head_options": "head",
    "data_options": "dataset",
    "optimizer_options": "optimizer",
    "schedule_options": "schedule",
    "loss_options": "loss",
    "augment_options": "augmentation",
    "metric_options": "metric",
    "tracker_options": "tracker",
}
# Fields that hold any number of names, each with the kind of what they name.
NAMES_OF = {"augment": "augmentation", "metric": "metric", "tracker": "tracker"}


def to_plain(name: str, value: Any) -> Any:
    """Returns what the command line has for a value that is natural in Python: None, a number of stages, a path."""
    if value is None and name in ("weights", "freeze", "class_weights", "sampler"):
        return "none"
    if name in ("data", "recipe", "class_weights") and isinstance(value, os.PathLike):
        return path_text(value)
    if name in ("exclude", "labels", "groups") and isinstance(value, os.PathLike):
        return os.fspath(value)
    return str(value) if name == "freeze" and isinstance(value, int) and not isinstance(value, bool) else value


def check_names(name: str, value: Any, *, owner: str = OWNER) -> tuple[str, ...]:
    """Returns the names that a field holds, of which a single one may be given as text.

    Raises:
        ConfigError: The value is something else, or names something twice.
    """
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(each, str) and each for each in names):
        raise ConfigError(
            f"{owner}: '{name}' is {short_repr(value)}, not the name of {article(NAMES_OF[name])} or a list of names."
        )
    if twice := next((each for each in names if names.count(each) > 1), None):
        raise ConfigError(f"{owner}: '{name}' names {short_repr(twice)} twice.")
    return tuple(names)


def check_mapping(name: str, value: Any, *, owner: str = OWNER) -> dict[str, Any]:
    """Returns the options that a field holds.

    Raises:
        ConfigError: The value is no mapping.
    """
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"{owner}: '{name}' is {short_repr(value)}, not a dict of options.",
            hint=f'For example: {name}={{"name": 1}}',
        )
    return dict(value)
