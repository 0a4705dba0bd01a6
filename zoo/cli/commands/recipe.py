"""``zoo recipe``: prints the settings of a run as a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from zoo.cli.commands.options import GroupedCommand, runs_option
from zoo.display import console

if TYPE_CHECKING:
    from pathlib import Path


@click.command(
    cls=GroupedCommand,
    name="recipe",
    epilog="\b\nFor example:\n"
    "  zoo recipe resnet18-linear-photos-1 > mine.toml\n"
    "  zoo finetune --data ./photos --recipe mine.toml",
)
@click.argument("run")
@runs_option
def command(run: str, runs: Path) -> None:
    """Print the settings of RUN, where they differ from the defaults, as a recipe: a TOML file.

    'zoo finetune --recipe FILE' on the same data repeats the run. To train with a few changes, no file is needed: 'zoo
    finetune --like RUN --lr 1e-3'.
    """
    from zoo.runs.open import open_run
    from zoo.runs.settings import to_recipe

    console.echo(to_recipe(open_run(run, runs=runs)).rstrip("\n"))
