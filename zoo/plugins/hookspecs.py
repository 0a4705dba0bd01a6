"""The hooks of a plugin. All are optional; a plugin is any module or object with at least one of them.

A distribution declares its plugin under the entry-point group ``zoo``:

    [project.entry-points.zoo]
    tinynet = "zoo_tinynet"

and marks its hooks with ``@zoo.hookimpl``. Every command calls the hooks, even ``zoo --help``. So import torch and
other heavy packages inside the callables of the specs, never at the top of the plugin.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import click

    from zoo.plugins.specs import (
        AugmentationSpec,
        BackboneFamily,
        BackboneSpec,
        CheckSpec,
        DatasetSpec,
        ExportTargetSpec,
        Family,
        FormatSpec,
        HeadSpec,
        HubSpec,
        LossSpec,
        MetricSpec,
        OptimizerSpec,
        RecipeSpec,
        ScheduleSpec,
        TrackerSpec,
    )

PROJECT = "zoo"
# The commands of the zoo itself, which no plugin can add.
RESERVED_COMMANDS = (
    *("best", "compare", "completion", "data", "doctor", "evaluate", "finetune", "info", "list", "new-plugin"),
    *("plugins", "predict", "recipe", "report", "runs", "show", "stress", "tune"),
)
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def zoo_backbones() -> list[BackboneSpec | BackboneFamily]:  # type: ignore[empty-body]
    """Returns backbones and families of backbones."""


@hookspec
def zoo_heads() -> list[HeadSpec]:  # type: ignore[empty-body]
    """Returns heads."""


@hookspec
def zoo_datasets() -> list[DatasetSpec]:  # type: ignore[empty-body]
    """Returns datasets."""


@hookspec
def zoo_recipes() -> list[RecipeSpec]:  # type: ignore[empty-body]
    """Returns recipes."""


@hookspec
def zoo_optimizers() -> list[OptimizerSpec | Family]:  # type: ignore[empty-body]
    """Returns optimizers and families of optimizers."""


@hookspec
def zoo_schedules() -> list[ScheduleSpec]:  # type: ignore[empty-body]
    """Returns learning-rate schedules."""


@hookspec
def zoo_losses() -> list[LossSpec]:  # type: ignore[empty-body]
    """Returns losses."""


@hookspec
def zoo_augmentations() -> list[AugmentationSpec]:  # type: ignore[empty-body]
    """Returns augmentations."""


@hookspec
def zoo_metrics() -> list[MetricSpec]:  # type: ignore[empty-body]
    """Returns metrics."""


@hookspec
def zoo_trackers() -> list[TrackerSpec]:  # type: ignore[empty-body]
    """Returns trackers of experiments."""


@hookspec
def zoo_export_targets() -> list[ExportTargetSpec]:  # type: ignore[empty-body]
    """Returns targets of ``zoo export``."""


@hookspec
def zoo_formats() -> list[FormatSpec]:  # type: ignore[empty-body]
    """Returns the file formats of trained classifiers that ``zoo predict`` and ``zoo evaluate`` can open."""


@hookspec
def zoo_hubs() -> list[HubSpec]:  # type: ignore[empty-body]
    """Returns hubs, places that trained models are fetched from."""


@hookspec
def zoo_checks() -> list[CheckSpec]:  # type: ignore[empty-body]
    """Returns the checks of the installation that ``zoo doctor`` runs for the plugin."""


@hookspec
def zoo_commands(cli: click.Group) -> None:
    """Adds commands to the command line.

    Args:
        cli: The group. ``cli.add_command(command)`` adds a command;
            ``cli.add_lazy("name", "module:attribute", "One line of help.")`` adds one whose module is imported only
            when the command runs.
    """


def register(plugin: object, *, name: str | None = None) -> pluggy.PluginManager:
    """Returns a plugin manager with this plugin only, so that no plugin affects the hooks of another."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(sys.modules[__name__])
    manager.register(plugin, name=name)
    return manager
