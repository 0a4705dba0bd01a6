"""``zoo plugins``: lists the plugins, what they provide and why any of them failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from zoo.cli.commands.options import json_option, quiet_option
from zoo.cli.groups import list_command_problems
from zoo.display import console
from zoo.plugins.kinds import KINDS
from zoo.plugins.registry import load_registry
from zoo.utils.text import printable

if TYPE_CHECKING:
    from zoo.plugins.discovery import Plugin


@click.command(name="plugins")
@click.option("--verbose", "-v", is_flag=True, help="Show the tracebacks of failed plugins.")
@quiet_option
@json_option
@click.pass_context
def command(ctx: click.Context, verbose: bool, quiet: bool, as_json: bool) -> None:
    """List the plugins: the distribution and version of each, what it provides, and why any of them failed."""
    plugins = load_registry().plugins
    list_command_problems(ctx)  # as warnings
    if as_json:
        console.write_json([_to_dict(plugin) for plugin in plugins])
        return
    rows = [(plugin.key, plugin.version, _summarize(plugin)) for plugin in plugins]
    console.write_table(("plugin", "version", "provides"), rows)
    for plugin in plugins:
        if plugin.error and not plugin.blocked:
            console.echo()
            console.echo(f"{click.style(plugin.key, bold=True)} failed: {printable(plugin.error)}")
            if verbose and plugin.details:
                console.echo(plugin.details.rstrip())
    if not verbose and not quiet and any(plugin.details for plugin in plugins):
        console.echo("\n'zoo plugins --verbose' shows the tracebacks.")


def names_by_kind(plugin: Plugin) -> dict[str, list[str]]:
    """Returns the names that a plugin provides, by kind; families follow the kind of their members."""
    found: dict[str, list[str]] = {}
    for kind in KINDS:
        found[kind.plural] = [spec.name for spec in plugin.specs(kind)]
        if kind.family is not None:
            families = [family.name for family in plugin.families(kind)]
            found["families"] = found.get("families", []) + families
    return found


def _summarize(plugin: Plugin) -> str:
    if plugin.error:
        return plugin.error if plugin.blocked else "failed"
    singular = {"families": "family"} | {kind.plural: kind.name for kind in KINDS}
    parts = [
        f"{len(listed)} {kind if len(listed) > 1 else singular[kind]}"
        for kind, listed in names_by_kind(plugin).items()
        if listed
    ]
    return ", ".join([*parts, *(["commands"] if plugin.add_commands else [])]) or "nothing"


def _to_dict(plugin: Plugin) -> dict[str, Any]:
    return {
        "key": plugin.key,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "qualifier": plugin.qualifier,
        "built_in": plugin.built_in,
        **names_by_kind(plugin),
        "commands": plugin.add_commands is not None,
        "blocked": plugin.blocked,
        "error": plugin.error,
        "details": plugin.details,
    }
