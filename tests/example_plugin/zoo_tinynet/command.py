"""The command tinynet-count."""

from __future__ import annotations

import click

import zoo


@click.command()
@click.argument("data")
def command(data: str) -> None:
    """Count the training photos of each class in DATA."""
    images = zoo.load_images(data)
    labels = [sample.label for sample in images.train]
    for label, name in enumerate(images.classes):
        click.echo(f"{labels.count(label)} {name}")
