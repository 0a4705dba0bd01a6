"""``zoo evaluate``: scores a run on a part of its data, or a run or an exported file on other data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from zoo.cli.commands.options import device_option, json_option, runs_option
from zoo.cli.terminal import console
from zoo.cli.terminal.formatting import format_accuracy, format_percent
from zoo.cli.terminal.observers import display_events
from zoo.inference.open import find_model

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.metrics.classification import Evaluation

_MOST_CLASSES = 12  # of a confusion matrix that a terminal can show


@click.command(name="evaluate")
@click.argument("run", metavar="RUN-OR-FILE")
@click.option("--data", metavar="DATA", help="Other data: a dataset's name, a folder, a CSV.  [default: the run's own]")
@click.option("--part", type=click.Choice(["test", "val", "train"]), default="test", show_default=True)
@device_option
@runs_option
@json_option
def command(run: str, data: str | None, part: str, device: str, runs: Path, as_json: bool) -> None:
    """Score a run or an exported file.

    Accuracy with its interval, figures of each class, confusion matrix, calibration error.
    """
    model = find_model(run, runs=runs, ask=console.passphrase_prompt())
    from zoo.inference.evaluate import evaluate

    with display_events(quiet=as_json, next_steps=False) as observer:
        evaluation = evaluate(model, data=data, part=part, device=device, observer=observer)
    if as_json:
        console.write_json(evaluation.to_dict())
    else:
        _write(evaluation)


def _write(evaluation: Evaluation) -> None:
    told = format_accuracy(evaluation.accuracy, evaluation.interval)
    console.write_heading(f"accuracy  {told}  ({evaluation.count} photos)")
    console.write_pairs(
        [
            ("macro F1", format_percent(evaluation.macro_f1)),
            ("calibration error", format_percent(evaluation.calibration_error)),
            ("loss", f"{evaluation.loss:.4f}"),
        ]
    )
    click.echo()
    rows = [
        (c.name, format_percent(c.precision), format_percent(c.recall), format_percent(c.f1), str(c.support))
        for c in evaluation.per_class
    ]
    console.write_table(("class", "precision", "recall", "F1", "photos"), rows, right=(1, 2, 3, 4))
    if len(evaluation.classes) <= _MOST_CLASSES:
        click.echo("\nConfusion: a row for each true class, a column for each predicted one")
        table = [
            (name, *map(str, counts)) for name, counts in zip(evaluation.classes, evaluation.confusion, strict=True)
        ]
        console.write_table(("", *evaluation.classes), table, right=range(1, len(evaluation.classes) + 1))
