"""``zoo convert``: converts a run for another library."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli.commands.options import quiet_option, runs_option
from zoo.cli.completion import complete_runs
from zoo.display import console
from zoo.runs.open import open_run


@click.command("convert")
@click.argument("run", shell_complete=complete_runs)
@click.option("--to", "target", type=click.Choice(["timm"]), required=True, help="Library to convert for.")
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Directory to write.  [default: RUN/timm]",
)
@runs_option
@quiet_option
def command(run: str, target: str, output: Path | None, runs: Path, quiet: bool) -> None:
    """Convert RUN to a directory that another library loads, with the same outputs.

    For timm: timm.create_model("local-dir:DIR", pretrained=True).
    """
    opened = open_run(run, runs=runs)
    if output is None:
        opened.refuse_copy("Pass the folder to write with -o DIR.")
    from zoo_timm.convert import convert_to_timm

    folder = convert_to_timm(opened, output or opened.path / target)
    loading = f": timm.create_model('local-dir:{folder}', pretrained=True) returns the same logits."
    console.echo(f"{folder}{'' if quiet else loading}")
