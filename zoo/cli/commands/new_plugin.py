"""``zoo new-plugin``: creates a plugin project."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli.commands.options import quiet_option
from zoo.cli.terminal import console


@click.command(name="new-plugin")
@click.argument("name")
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Directory to create.  [default: ./NAME]",
)
@quiet_option
def command(name: str, folder: Path | None, quiet: bool) -> None:
    """Create a plugin project called NAME, with a backbone, a head and a test that passes."""
    from zoo.cli.scaffold import write_plugin

    folder = folder or Path(name)
    files = write_plugin(name, folder)
    if quiet:
        console.echo(folder)
        return
    for file in files:
        console.echo(f"created {file}")
    console.echo("\nNext steps:")
    console.echo(f"  pip install -e {folder}   # 'zoo plugins' then lists it")
    console.echo(f"  pytest {folder}           # checks it against the contract")
