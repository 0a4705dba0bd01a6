"""``zoo evaluate``: measures the accuracy of runs and exported files, and compares them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.commands.options import device_option, json_option, quiet_option, runs_option, split_option
from zoo.cli.completion import complete_runs
from zoo.cli.groups import UsageError
from zoo.display import console
from zoo.display.formatting import format_accuracy, format_metrics, format_percent
from zoo.display.observers import display_events
from zoo.inference.open import find_model
from zoo.metrics.calibration import format_coverage
from zoo.plugins.options import parse_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zoo.inference.paired import PairedEvaluation
    from zoo.metrics.calibration import Reliability
    from zoo.metrics.classification import Evaluation
    from zoo.metrics.multi_label import MultiLabelEvaluation
    from zoo.metrics.slices import Slice

_MAX_CLASSES = 12  # of a confusion matrix that fits a terminal
_MAX_CONFUSIONS = 20


@click.command(name="evaluate")
@click.argument("models", metavar="RUN-OR-FILE...", nargs=-1, required=True, shell_complete=complete_runs)
@click.option(
    "--data", metavar="DATA", help="Other data: a dataset, a folder or a CSV file.  [default: the data of the run]"
)
@click.option(
    "--data-option", "pairs", multiple=True, metavar="NAME=VALUE", help="Option of the dataset DATA; repeatable."
)
@click.option(
    "--labels",
    metavar="FILE.csv",
    help="CSV file of path,label: labels that replace those of the data.  [default: those of the run]",
)
@split_option(help="Split to evaluate on.")
@click.option(
    "--slices",
    is_flag=True,
    help="Also measure parts of the photos, such as the darkest quarter, and show those that are worse than chance "
    "explains.",
)
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
    models: tuple[str, ...],
    data: str | None,
    pairs: tuple[str, ...],
    labels: str | None,
    split: str,
    slices: bool,
    metrics: tuple[str, ...],
    metric_pairs: tuple[str, ...],
    device: str,
    runs: Path,
    quiet: bool,
    as_json: bool,
) -> None:
    """Measure the accuracy of a run, an exported file or a model on a hub. Several are compared on the same photos.

    Prints the accuracy with its 95 % interval, the metrics of each class, the confusion matrix (of more than 12
    classes, the most common confusions), how far the probabilities can be relied on, before and after calibration, and
    how often prediction sets have the right class; the balanced accuracy, too, if one class has more than twice as many
    photos as another, and the top-5 accuracy of more than ten classes. With several labels per
    photo: the mean average precision (mAP), F1, exact match and Hamming loss, and the metrics of each label at its
    threshold. Of several models, prints one line each, and whether the first and each other differ by more than chance
    explains.
    """
    if slices and len(models) > 1:
        raise UsageError("--slices is for one model.", hint="Evaluate each by itself.")
    found = [find_model(each, runs=runs, ask=console.passphrase_prompt()) for each in models]
    settings: dict[str, Any] = {
        "data": data,
        "split": split,
        "device": device,
        "engine": "auto",
        "metrics": metrics,
        "metric_options": parse_pairs(metric_pairs, flag="--metric-option"),
        **({"labels": labels} if labels else {}),
        **({"slices": True} if slices else {}),
        **({"data_options": parse_pairs(pairs, flag="--data-option")} if pairs else {}),
    }
    with display_events(quiet=quiet or as_json, next_steps=False) as observer:
        if len(found) == 1:
            from zoo.inference.evaluate import evaluate

            evaluation = evaluate(found[0], observer=observer, **settings)
            plain, write = evaluation.to_dict(), partial(_write, evaluation, slices=slices)
        else:
            from zoo.inference.paired import evaluate_paired

            several = evaluate_paired(found, observer=observer, **settings)
            plain, write = several.to_dict(), partial(_write_paired, several)
    if as_json:
        console.write_json(plain)
    else:
        write()


def _write_paired(result: PairedEvaluation) -> None:
    from zoo.metrics.multi_label import FIGURES, MultiLabelEvaluation

    evaluations: dict[str, Any] = dict(result.evaluations)
    if isinstance(next(iter(evaluations.values())), MultiLabelEvaluation):
        header = ("model", *FIGURES.values(), "loss")
        rows = [
            (
                name,
                *(format_accuracy(getattr(each, figure), each.intervals[figure]) for figure in FIGURES),
                f"{each.loss:.4f}",
            )
            for name, each in evaluations.items()
        ]
        console.write_table(header, rows, right=[len(header) - 1])
    else:
        _write_paired_classes(evaluations)
    console.echo()
    for difference in result.differences:
        console.echo(difference.describe())


def _write_paired_classes(evaluations: dict[str, Evaluation]) -> None:
    uneven = any(each.is_uneven for each in evaluations.values())  # all have the same photos
    rows = [
        (
            name,
            format_accuracy(each.accuracy, each.interval),
            *([format_accuracy(each.balanced_accuracy, each.balanced_interval)] if uneven else []),
            format_percent(each.macro_f1),
            format_percent(each.calibration_error),
            f"{each.loss:.4f}",
            *(value for _, value in format_metrics(each.metrics_to_dict())),
        )
        for name, each in evaluations.items()
    ]
    metrics = next(iter(evaluations.values())).metrics
    header = (
        "model",
        "accuracy",
        *(["balanced accuracy"] if uneven else []),
        "macro F1",
        "calibration error",
        "loss",
        *(each.replace("_", " ") for each in metrics),
    )
    console.write_table(header, rows, right=range(2, 6 if uneven else 5))


def _write(evaluation: Evaluation | MultiLabelEvaluation, *, slices: bool) -> None:
    from zoo.metrics.multi_label import MultiLabelEvaluation  # imports numpy, which is loaded by now

    if isinstance(evaluation, MultiLabelEvaluation):
        _write_labels(evaluation)
    else:
        _write_classes(evaluation)
        if slices:
            _write_slices(evaluation.slices)


def _write_labels(evaluation: MultiLabelEvaluation) -> None:
    from zoo.metrics.multi_label import FIGURES

    figures = [
        (title, format_accuracy(getattr(evaluation, name), evaluation.intervals[name]))
        for name, title in FIGURES.items()
    ]
    (title, value), *others = figures
    console.write_heading(f"{title}  {value}  ({evaluation.count} photos)")
    console.write_pairs(
        [
            *others,
            *_probability_pairs(evaluation),
            *format_metrics(evaluation.metrics_to_dict()),
        ]
    )
    for note in evaluation.notes:
        console.write_message(note)
    console.echo()
    rows = [
        (
            each.name,
            format_accuracy(each.average_precision, each.interval),
            f"{each.threshold:.3f}",
            *map(format_percent, (each.precision, each.recall, each.f1)),
            str(each.support),
        )
        for each in evaluation.per_class
    ]
    console.write_table(("label", "AP", "threshold", "precision", "recall", "F1", "photos"), rows, right=range(2, 7))


def _cost_pairs(evaluation: Evaluation) -> list[tuple[str, str]]:
    if evaluation.decision is None:
        return []
    costs = f"{evaluation.mean_cost:.3f}; {evaluation.plain_cost:.3f} if the most probable class were predicted"
    return [("cost per photo", costs), ("decision", evaluation.decision.describe())]


def _write_classes(evaluation: Evaluation) -> None:
    accuracy = format_accuracy(evaluation.accuracy, evaluation.interval)
    console.write_heading(f"accuracy  {accuracy}  ({evaluation.count} photos)")
    balanced = format_accuracy(evaluation.balanced_accuracy, evaluation.balanced_interval)
    top = format_accuracy(evaluation.top_5_accuracy, evaluation.top_5_interval)
    console.write_pairs(
        [
            *([("balanced accuracy", balanced)] if evaluation.is_uneven else []),
            *([("top-5 accuracy", top)] if evaluation.top_5_accuracy is not None else []),
            ("macro F1", format_percent(evaluation.macro_f1)),
            *_cost_pairs(evaluation),
            ("calibration error", format_percent(evaluation.calibration_error)),
            *_probability_pairs(evaluation),
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


def _probability_pairs(evaluation: Evaluation | MultiLabelEvaluation) -> list[tuple[str, str]]:
    """Returns the lines on probabilities, before and after calibration, and on prediction sets."""
    report = evaluation.reliability
    if report is None:
        return [("loss", f"{evaluation.loss:.4f}")]
    shown = [_format_reliability(each) for each in (report.calibrated, report.uncalibrated) if each is not None]
    pairs = [
        (name, values[0] if len(values) == 1 else f"{values[0]} (before calibration {values[1]})")
        for name, *values in zip(("debiased calibration error", "Brier score", "loss"), *shown, strict=True)
    ]
    for each in report.sets:
        text = f"{format_accuracy(each.measured, each.interval)} have the class; {each.size:.2f} classes on average"
        pairs.append((f"prediction sets, {format_coverage(each.promised)}", text))
    return pairs


def _format_reliability(measured: Reliability) -> tuple[str, str, str]:
    return format_percent(measured.calibration_error), f"{measured.brier:.4f}", f"{measured.loss:.4f}"


def _write_slices(slices: Sequence[Slice]) -> None:
    """Prints the slices that are worse than chance explains."""
    worse = [each for each in slices if each.is_worse]
    if not slices:
        console.echo("\nThere are too few photos to compare slices of them.")
    elif not worse:
        lowest = f"the lowest p is {slices[0].p:.2g}, {slices[0].p_adjusted:.2g} corrected"
        console.echo(f"\nNone of {len(slices)} slices is worse than chance explains ({lowest}).")
    if not worse:
        return
    console.echo(f"\nSlices that are worse than chance explains, of {len(slices)}")
    rows = [
        (
            each.title,
            str(each.count),
            format_accuracy(each.accuracy, each.interval),
            format_percent(each.rest),
            format_percent(each.expected),
            f"{each.p_adjusted:.2g}",
        )
        for each in worse
    ]
    console.write_table(
        ("slice", "photos", "accuracy", "others", "by its classes", "corrected p"), rows, right=range(1, 6)
    )
