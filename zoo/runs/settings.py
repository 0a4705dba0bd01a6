"""The settings of a run, to repeat it or to change some of them."""

from __future__ import annotations

import dataclasses
import os
import shlex
from typing import TYPE_CHECKING, Any

from zoo.config import FinetuneConfig
from zoo.plugins.specs import UNSTORED
from zoo.runs.open import load_config
from zoo.utils.text import one_line
from zoo.utils.toml_file import to_toml

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zoo.runs.run import RunFolder

# The data is named beside the recipe, and neither of the others changes a result.
_LEFT_OUT = ("data", "data_options", "recipe", "tracker", "tracker_options")
_PATHS = ("weights", "exclude", "labels", "groups")
_TUNED = ("batch_size", "lr")  # to the memory of a GPU


def requested_config(run: RunFolder) -> FinetuneConfig:
    """Returns the configuration as the user requested it: ``"auto"`` where the run chose a value.

    Raises:
        RunError: The configuration cannot be read.
    """
    return load_config(run, **run.record.requested)


def to_recipe(run: RunFolder) -> str:
    """Returns the settings of a run, where they differ from the defaults, as the text of a recipe in a TOML file.

    With the same data and versions it repeats the run. A batch size that was tuned to a GPU is the one that was chosen.

    Raises:
        RunError: The configuration cannot be read.
    """
    tuned = {name: run.config[name] for name in _TUNED if "batch_size" in run.record.requested}
    config = load_config(run, **{**run.record.requested, **tuned})
    return config_to_recipe(config, summary=f"The settings of {run.name}", comments=_comments(run, config))


def config_to_recipe(config: FinetuneConfig, *, summary: str, comments: Iterable[str]) -> str:
    """Returns the settings of a configuration, where they differ from the defaults, as the text of a recipe.

    Args:
        config: The configuration.
        summary: One line about it.
        comments: Lines that begin the file.
    """
    values = {"summary": summary} | _changed_values(config)
    return "".join(f"# {one_line(line)}\n" for line in comments) + "\n" + to_toml(values)


def _changed_values(config: FinetuneConfig) -> dict[str, Any]:
    plain = config.to_dict()
    changed = {}
    for field in dataclasses.fields(FinetuneConfig):
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        value = getattr(config, field.name)
        if field.name not in _LEFT_OUT and value != default:
            is_file = field.name in _PATHS and os.path.isfile(value)  # noqa: PTH113  it may be no path at all
            changed[field.name] = os.path.abspath(value) if is_file else plain[field.name]  # noqa: PTH100
    return changed


def _comments(run: RunFolder, config: FinetuneConfig) -> list[str]:
    record = run.record
    plugins = {key.partition(":")[0]: version for key, version in record.plugins.items()}
    versions = {**record.packages, **plugins}
    lines = [
        f"The settings of the run {run.name}, where they differ from the defaults. On the same data this repeats it:",
        f"  {_command(config)}",
        f"Versions: {', '.join(f'{name} {version}' for name, version in versions.items())}",
    ]
    for entry in record.diverged:
        then = ", ".join(f"{name} {value}" for name, value in entry.get("then", {}).items()) or "the same settings"
        lines.append(f"It diverged with lr {entry['lr']}, and was resumed with {then}: this file does not repeat that.")
    if record.changed:
        lines.append("It was resumed although data, configuration or code had changed: this file does not repeat that.")
    return lines


def _command(config: FinetuneConfig) -> str:
    data = str(config.data).removeprefix(UNSTORED)
    pairs = [part for name, value in config.data_options.items() for part in ("--data-option", f"{name}={value}")]
    return shlex.join(("zoo", "finetune", "--data", data, *pairs, "--recipe", "THIS-FILE.toml"))
