"""``zoo stress``: measures how the accuracy of models falls when photos are changed, and checks requirements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.commands.options import (
    GroupedCommand,
    GroupedOption,
    device_option,
    json_option,
    quiet_option,
    runs_option,
    split_option,
)
from zoo.cli.completion import complete_runs
from zoo.display import console
from zoo.display.formatting import NO_VALUE, format_accuracy, format_percent, pluralize
from zoo.display.observers import display_events
from zoo.errors import RequirementError
from zoo.inference.open import find_model
from zoo.plugins.options import parse_pairs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoo.inference.stress.results import Accuracy, KindResult, ModelResult
    from zoo.inference.stress.run import StressReport

_MINUTES = 10.0
_SHOWN_CLASSES = 5
_STRENGTHS = 5
_TEST, _DATA = "Test", "Data"


def _number(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Returns the minutes; None for ``none``."""
    if value == "none":
        return None
    try:
        return float(value or _MINUTES)
    except ValueError:
        raise click.BadParameter(f"'{value}' is neither a number nor none.") from None


@click.command(
    cls=GroupedCommand,
    name="stress",
    epilog="\b\nFor example:\n"
    "  zoo stress efficientnet_lite0-linear-photos-1\n"
    "  zoo stress model.onnx --data ./photos --kind jpeg --kind noise\n"
    "  zoo stress RUN --require jpeg:3=0.85 --require mean=0.7",
)
@click.argument("models", metavar="RUN-OR-FILE...", nargs=-1, required=True, shell_complete=complete_runs)
@click.option(
    "--minutes",
    cls=GroupedOption,
    group=_TEST,
    metavar="X|none",
    callback=_number,
    help="Time for the measurements. If it does not suffice, there are fewer photos, and at last fewer kinds; the same "
    f"command goes on.  [default: {_MINUTES:g}]",
)
@click.option(
    "--kind",
    "kinds",
    cls=GroupedOption,
    group=_TEST,
    multiple=True,
    metavar="NAME",
    help="Kind of change to measure; may be repeated.  [default: all]",
)
@click.option(
    "--require",
    cls=GroupedOption,
    group=_TEST,
    multiple=True,
    metavar="KIND[:STRENGTH]=X",
    help="Lowest accuracy, 0 to 1, below which the command fails: of a kind at a strength or in the mean, of clean, "
    "mean or worst; may be repeated.",
)
@click.option("--seed", cls=GroupedOption, group=_TEST, type=int, default=0, show_default=True, help="Random seed.")
@click.option(
    "--data",
    cls=GroupedOption,
    group=_DATA,
    metavar="DATA",
    help="Other data: a dataset, a folder or a CSV file.  [default: the data of the run]",
)
@click.option(
    "--data-option",
    "pairs",
    cls=GroupedOption,
    group=_DATA,
    multiple=True,
    metavar="NAME=VALUE",
    help="Option of the dataset DATA; repeatable.",
)
@split_option(help="Split to measure on.")
@click.option("--photos", cls=GroupedOption, group=_DATA, type=int, metavar="N", help="Most photos.  [default: all]")
@device_option
@runs_option
@click.option(
    "--output",
    "-o",
    cls=GroupedOption,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Directory of the results.  [default: stress-RUN-1, -2 and so on in the directory of the runs]",
)
@quiet_option
@json_option
def command(
    models: tuple[str, ...],
    minutes: float | None,
    kinds: tuple[str, ...],
    require: tuple[str, ...],
    seed: int,
    data: str | None,
    pairs: tuple[str, ...],
    split: str,
    photos: int | None,
    device: str,
    runs: Path,
    output: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Measure how the accuracy of a run or an exported file falls when photos are changed.

    Kinds of change: noise, blur, defocus, jpeg, low-light, contrast, color-cast, fog, occlusion, rotation, crop, scale,
    mirror, resolution and borders, at five strengths each; of runs also the adversarial fgsm and pgd. Prints the
    accuracy under each, the worst first, and the classes that lose most; leaves curves, a map of the classes and sheets
    of photos that flip. Several models are compared on the same photos.
    """
    found: list[Any] = [find_model(each, runs=runs, ask=console.passphrase_prompt()) for each in models]
    settings: dict[str, Any] = {"data_options": parse_pairs(pairs, flag="--data-option")} if pairs else {}
    from zoo.inference.stress.run import stress

    with display_events(quiet=quiet or as_json, next_steps=False) as observer:
        report = stress(
            found,
            data=data,
            split=split,
            kinds=kinds,
            require=require,
            photos=photos,
            minutes=minutes,
            seed=seed,
            device=device,
            observer=observer,
            output=output,
            runs=runs,
            **settings,
        )
    if as_json:
        console.write_json(report.to_dict())
    else:
        _write(report)
    if report.failures:
        raise RequirementError(" ".join(report.failures), hint=f"The results are in {report.folder}.")


def _write(report: StressReport) -> None:
    for model in report.models:
        _write_model(model)
        console.echo()
    for name, differences in report.differences.items():
        _write_differences(name, report.models[0].name, differences)
        console.echo()
    measured = min(model.count for model in report.models)
    if not report.complete:
        console.echo(f"{measured} of {report.photos} photos in the time; the same command goes on.")
    console.echo(f"results  {report.folder}")


def _write_model(model: ModelResult) -> None:
    clean = format_accuracy(model.clean, model.clean_interval)
    console.write_heading(f"{model.name}  accuracy  {clean}  ({pluralize(model.count, 'photo')})")
    header = ("change", *map(str, range(1, _STRENGTHS + 1)), "mean", "to clean")
    rows = [_cells(kind) for kind in model.kinds if not kind.adversarial]
    if model.mean is not None:
        rows.append(("mean", *[""] * _STRENGTHS, _percent(model.mean), _difference(model.mean)))
    rows += [_cells(kind) for kind in model.kinds if kind.adversarial]
    console.write_table(header, rows, right=range(1, _STRENGTHS + 3))
    if any(kind.adversarial for kind in model.kinds):
        attacked = min(kind.count for kind in model.kinds if kind.adversarial)
        console.echo(f"Adversarial, on {pluralize(attacked, 'photo')}, not part of the mean: fgsm, pgd.")
    if model.dropped:
        console.echo(f"Not measured, because the time did not suffice: {', '.join(model.dropped)}.")
    if model.classes:
        console.echo("\nClasses that lose most")
        lines = [
            (each.name, format_percent(each.clean), format_percent(each.changed), each.taken_for or NO_VALUE)
            for each in model.classes[:_SHOWN_CLASSES]
        ]
        console.write_table(("class", "clean", "changed", "taken for"), lines, right=(1, 2))


def _cells(kind: KindResult) -> tuple[str, ...]:
    shares = [format_percent(each.accuracy) for each in kind.strengths]
    return (kind.name, *shares, *[""] * (_STRENGTHS - len(shares)), _percent(kind.mean), _difference(kind.mean))


def _percent(figure: Accuracy) -> str:
    return format_accuracy(figure.accuracy, figure.interval)


def _difference(figure: Accuracy) -> str:
    low, high = figure.difference_interval
    return f"{100 * figure.difference:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def _write_differences(name: str, first: str, differences: Mapping[str, Any]) -> None:
    console.write_heading(f"{name} minus {first}, in points of accuracy")
    rows = []
    for kind, each in differences.items():
        low, high = each["interval"]
        rows.append((kind, f"{100 * each['difference']:+.1f}", f"{100 * low:+.1f} to {100 * high:+.1f}"))
    console.write_table(("change", "difference", "95 % interval"), rows, right=(1, 2))
