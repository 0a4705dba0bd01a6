"""``zoo evaluate``: measures the accuracy of a run or an exported file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from zoo.cli.commands.options import device_option, json_option, quiet_option, runs_option, split_option
from zoo.cli.completion import complete_runs
from zoo.cli.terminal import console
from zoo.cli.terminal.formatting import format_accuracy, format_metrics, format_percent
from zoo.cli.terminal.observers import display_events
from zoo.inference.open import find_model
from zoo.plugins.options import parse_pairs

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.metrics.classification import Evaluation

_MAX_CLASSES = 12  # of a confusion matrix that fits a terminal
_MAX_CONFUSIONS = 20


@click.command(name="evaluate")
@click.argument("run", metavar="RUN-OR-FILE", shell_complete=complete_runs)
@click.option(
    "--data", metavar="DATA", help="Other data: a dataset, a folder or a CSV file.  [default: the data of the run]"
)
@click.option(
    "--data-option", "pairs", multiple=True, metavar="NAME=VALUE", help="Option of the dataset DATA; repeatable."
)
@split_option(help="Split to evaluate on.")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="Metric to add: a name from 'zoo list metrics'; may be repeated.",
)
@click.option(
    "--metric-option", "metric_pairs", multiple=True, metavar="NAME=VALUE", help="Option of a metric; repeatable."
)
@device_option
@runs_option
@quiet_option
@json_option
def command(
    run: str,
    data: str | None,
    pairs: tuple[str, ...],
    split: str,
    metrics: tuple[str, ...],
    metric_pairs: tuple[str, ...],
    device: str,
    runs: Path,
    quiet: bool,
    as_json: bool,
) -> None:
    """Measure the accuracy of a run or an exported file.

    Prints the accuracy with its 95 % interval, the metrics of each class, the confusion matrix (of more than 12
    classes, the most common confusions) and the calibration error.
    """
    model = find_model(run, runs=runs, ask=console.passphrase_prompt())
    from zoo.inference.evaluate import evaluate

    options: dict[str, Any] = {"data_options": parse_pairs(pairs, flag="--data-option")} if pairs else {}
    with display_events(quiet=quiet or as_json, next_steps=False) as observer:
        evaluation = evaluate(
            model,
            data=data,
            split=split,
            device=device,
            observer=observer,
            engine="auto",
            metrics=metrics,
            metric_options=parse_pairs(metric_pairs, flag="--metric-option"),
            **options,
        )
    if as_json:
        console.write_json(evaluation.to_dict())
    else:
        _write(evaluation)


def _write(evaluation: Evaluation) -> None:
    accuracy = format_accuracy(evaluation.accuracy, evaluation.interval)
    console.write_heading(f"accuracy  {accuracy}  ({evaluation.count} photos)")
    console.write_pairs(
        [
            ("macro F1", format_percent(evaluation.macro_f1)),
            ("calibration error", format_percent(evaluation.calibration_error)),
            ("loss", f"{evaluation.loss:.4f}"),
            *format_metrics(evaluation.metrics_to_dict()),
        ]
    )
    console.echo()
    rows = [
        (c.name, format_percent(c.precision), format_percent(c.recall), format_percent(c.f1), str(c.support))
        for c in evaluation.per_class
    ]
    console.write_table(("class", "precision", "recall", "F1", "photos"), rows, right=(1, 2, 3, 4))
    if len(evaluation.classes) <= _MAX_CLASSES:
        console.echo("\nConfusion matrix: one row per true class, one column per predicted class")
        table = [
            (name, *map(str, counts))
            for name, counts in zip(evaluation.classes, evaluation.confusion.tolist(), strict=True)
        ]
        console.write_table(("", *evaluation.classes), table, right=range(1, len(evaluation.classes) + 1))
    elif confusions := evaluation.most_confused(_MAX_CONFUSIONS):
        console.echo("\nMost common confusions")
        pairs = [(each.true, each.predicted, str(each.count), str(each.support)) for each in confusions]
        console.write_table(("true class", "predicted class", "photos", "of"), pairs, right=(2, 3))
