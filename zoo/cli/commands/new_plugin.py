"""``zoo new-plugin``: writes the skeleton of a plugin."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(name="new-plugin")
@click.argument("name")
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="The plugin's own folder, which is made.  [default: ./NAME]",
)
def command(name: str, folder: Path | None) -> None:
    """Write the skeleton of a plugin called NAME: a distribution of its own, with a test that passes."""
    from zoo.cli.scaffold import write_plugin

    folder = folder or Path(name)
    for file in write_plugin(name, folder):
        click.echo(f"wrote {file}")
    click.echo("\nWhat to do next:")
    click.echo(f"  pip install -e {folder}   then 'zoo plugins' lists it")
    click.echo(f"  pytest {folder}           checks that it keeps the contract")
