"""The hooks that a plugin may implement. All are optional; a plugin is any module or object that has at least one.

A distribution announces its plugin under the entry-point group ``zoo``::

    [project.entry-points.zoo]
    tinynet = "zoo_tinynet"

and implements hooks with the marker ``zoo.hookimpl``. Hooks are called when the zoo looks around, `zoo --help`
included: import torch and the like inside the callables of the specs, never at the top of the plugin.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import click

    from zoo.plugins.specs import BackboneFamily, BackboneSpec, CheckSpec, DatasetSpec, FormatSpec, HeadSpec

PROJECT = "zoo"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def zoo_backbones() -> list[BackboneSpec | BackboneFamily]:  # type: ignore[empty-body]
    """Returns the backbones and families of backbones that the plugin offers."""


@hookspec
def zoo_heads() -> list[HeadSpec]:  # type: ignore[empty-body]
    """Returns the heads that the plugin offers."""


@hookspec
def zoo_datasets() -> list[DatasetSpec]:  # type: ignore[empty-body]
    """Returns the datasets that the plugin offers."""


@hookspec
def zoo_formats() -> list[FormatSpec]:  # type: ignore[empty-body]
    """Returns the kinds of files with trained classifiers that ``zoo predict`` and ``zoo evaluate`` are to open."""


@hookspec
def zoo_checks() -> list[CheckSpec]:  # type: ignore[empty-body]
    """Returns what ``zoo doctor`` is to check of the set-up that the plugin needs."""


@hookspec
def zoo_commands(cli: click.Group) -> None:
    """Adds commands to the command line.

    Args:
        cli: The group to add to, with ``cli.add_command(command)``; or, so that a heavy module is imported only when
            its command runs, with ``cli.add_lazy("name", "module:attribute", "One line of help.")``.
    """


def register(plugin: object, *, name: str | None = None) -> pluggy.PluginManager:
    """Returns a manager of one plugin alone, so that no plugin can disturb the hooks of another."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(sys.modules[__name__])
    manager.register(plugin, name=name)
    return manager
