"""``zoo new-plugin``: creates a plugin project."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli.commands.options import quiet_option
from zoo.cli.kind_choice import KindChoice
from zoo.cli.scaffold import PLUGIN_KINDS, write_plugin
from zoo.display import console


@click.command(name="new-plugin")
@click.argument("name")
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Directory to create.  [default: ./NAME]",
)
@click.option(
    "--kind",
    type=KindChoice(PLUGIN_KINDS),
    default="backbone",
    show_default=True,
    help="What the plugin offers; with a backbone comes a head.",
)
@quiet_option
def command(name: str, folder: Path | None, kind: str, quiet: bool) -> None:
    """Create a plugin project called NAME, with an offer of KIND and a test that passes."""
    folder = folder or Path(name)
    files = write_plugin(name, folder, kind=kind)
    if quiet:
        console.echo(folder)
        return
    for file in files:
        console.echo(f"created {file}")
    console.echo("\nNext steps:")
    console.echo(f"  pip install -e {folder}   # 'zoo plugins' then lists it")
    console.echo(f"  pytest {folder}           # checks it against the contract")
