"""``zoo runs``: lists the runs with their accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from zoo.commands._options import json_option, runs_option
from zoo.commands._runs import write_runs
from zoo.listing import matching_runs
from zoo.run import list_runs
from zoo.terminal import console

if TYPE_CHECKING:
    from pathlib import Path


@click.command(name="runs")
@click.argument("word", default="")
@runs_option
@json_option
def command(word: str, runs: Path, as_json: bool) -> None:
    """List the runs, oldest first; with WORD, those that have it in their name, backbone, head or data."""
    rows = matching_runs(list_runs(runs), word)
    if as_json:
        console.write_json([row.to_dict() for row in rows])
    elif rows:
        write_runs(rows)
    else:
        click.echo(f"There are no runs{f' with {word!r} in their name' if word else ''} below {runs}/.")
        click.echo("'zoo finetune resnet18 --data hotdog' makes one.")
