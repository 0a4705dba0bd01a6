"""``zoo report``: writes all that is known of a run as one HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli.commands.options import device_option, quiet_option, runs_option, split_option
from zoo.cli.completion import complete_runs
from zoo.display import console
from zoo.display.observers import display_events
from zoo.runs.open import load_config, open_run

_OF_DATA = ("data_options", "test_fraction", "val_fraction", "groups", "labels", "exclude", "seed")


@click.command(name="report")
@click.argument("run", shell_complete=complete_runs)
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.html",
    help="The file to write.  [default: RUN-report.html]",
)
@click.option("--data", metavar="DATA", help="Other data to evaluate on.  [default: the data of the run]")
@split_option(help="Split to evaluate on.")
@click.option(
    "--suspects",
    is_flag=True,
    help="Also look for labels that may be wrong, as 'zoo data suspects' does: takes longer.",
)
@device_option
@runs_option
@quiet_option
def command(
    run: str, output: Path | None, data: str | None, split: str, suspects: bool, device: str, runs: Path, quiet: bool
) -> None:
    """Write a report of RUN: one HTML page to read, to print and to attach to the model.

    It has what the model is and where it comes from, its data, its figures with intervals, its mistakes, how far its
    probabilities can be relied on, photos on which it is worse, and its limits; and it says what was not measured. The
    page contains its pictures, runs no script and makes no requests.
    """
    from zoo.inference.report import write_report

    found = open_run(run, runs=runs)
    with display_events(quiet=quiet, next_steps=False) as observer:
        listed = None
        if suspects:
            from zoo.training.suspects.find import find_suspects

            config = load_config(found)
            values = {name: getattr(config, name) for name in _OF_DATA} if data is None else {}
            source = config.data if data is None else data
            listed = find_suspects(source, observer=observer, device=device, **values).suspects
        path = write_report(
            found, output, data=data, split=split, suspects=listed, device=device, runs=runs, observer=observer
        )
    console.echo(path)
