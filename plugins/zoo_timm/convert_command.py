"""``zoo convert``: another spelling of ``zoo export --to timm``."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli.commands.options import quiet_option, runs_option
from zoo.cli.completion import complete_runs
from zoo.display import console
from zoo.inference.run import open_run


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
@click.option("--no-verify", is_flag=True, help="Do not compare the logits with those of the run.")
@click.option("--data", metavar="DATA", help="Photos to compare on.  [default: the run's validation photos]")
@runs_option
@quiet_option
def command(
    run: str, target: str, output: Path | None, no_verify: bool, data: str | None, runs: Path, quiet: bool
) -> None:
    """Convert RUN to a directory that timm loads, as 'zoo export RUN --to timm' does.

    timm.create_model("local-dir:DIR", pretrained=True) then returns the logits of the run.
    """
    folder = open_run(run, runs=runs).export(output, to=target, verify=not no_verify, data=data)
    loading = f": timm.create_model('local-dir:{folder}', pretrained=True) returns the same logits."
    console.echo(f"{folder}{'' if quiet else loading}")
