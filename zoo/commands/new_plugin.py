"""``zoo new-plugin``: writes the skeleton of a plugin."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(name="new-plugin")
@click.argument("name")
@click.option(
    "--to",
    "parent",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    metavar="DIR",
    help="Where the plugin's folder is made.  [default: here]",
)
def command(name: str, parent: Path) -> None:
    """Write the skeleton of a plugin called NAME: a distribution with a backbone, and a test that passes."""
    from zoo.skeleton import write_plugin

    folder = parent / name
    for file in write_plugin(name, folder):
        click.echo(f"wrote {file}")
    click.echo("\nWhat to do next:")
    click.echo(f"  pip install -e {folder}   then 'zoo plugins' lists it")
    click.echo(f"  pytest {folder}           checks that it keeps the contract")
