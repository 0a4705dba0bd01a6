"""``zoo convert``: hands a trained run to another library."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.runs.open import open_run
from zoo.runs.run import RUNS


@click.command("convert")
@click.argument("run")
@click.option("--to", "target", type=click.Choice(["timm"]), required=True, help="For which library.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The folder to write.  [default: RUN/timm]")
@click.option("--runs", type=click.Path(path_type=Path), default=RUNS, show_default=True, help="Folder of the runs.")
def command(run: str, target: str, output: Path | None, runs: Path) -> None:
    """Convert RUN to a folder that another library loads, with the same outputs.

    For timm: timm.create_model("local-dir:FOLDER", pretrained=True).
    """
    found = open_run(run, runs=runs)
    from zoo_timm.convert import to_timm

    folder = to_timm(found, output or found.path / target)
    click.echo(f"{folder}: timm.create_model('local-dir:{folder}', pretrained=True) gives the same logits.")
