"""``zoo best``: searches for the best model within a given time."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.commands.options import (
    GroupedCommand,
    GroupedOption,
    config_options,
    given_values,
    json_option,
    quiet_option,
    require_data,
    runs_option,
)
from zoo.cli.completion import complete_offers
from zoo.cli.groups import UsageError
from zoo.display import console
from zoo.display.formatting import NO_VALUE, format_accuracy, format_duration
from zoo.display.observers import display_events
from zoo.plugins.options import parse_pairs

if TYPE_CHECKING:
    from zoo.training.best.find_best import Search
    from zoo.training.best.table import Row

_COMMON = (  # options of `zoo finetune` that the search leaves to the user
    *("head", "head_options", "data", "data_options", "val_fraction", "test_fraction", "limit", "exclude"),
    *("labels", "recipe"),
    *("metric", "metric_options", "precision", "device", "workers", "cache", "cache_size", "seed"),
)
_MINUTES = 10.0


@click.command(
    cls=GroupedCommand,
    name="best",
    epilog="\b\nFor example:\n"
    "  zoo best --data ./photos --minutes 10\n"
    "  zoo best --data ./photos --minutes 60 --backbone resnet18=resnet18.safetensors\n"
    "  zoo best --resume runs/search-photos-1",
)
@click.option(
    "--minutes",
    cls=GroupedOption,
    group="Search",
    type=float,
    metavar="NUMBER",
    help=f"Time for the search, its last evaluation included.  [default: {_MINUTES:g}]",
)
@click.option(
    "--backbone",
    "backbones",
    cls=GroupedOption,
    group="Search",
    multiple=True,
    metavar="NAME[=FILE]",
    shell_complete=complete_offers("backbone"),
    help="Backbone to try beside those whose weights are on this machine, with a file of weights or a run; may be "
    "repeated.",
)
@click.option(
    "--backbone-option",
    "backbone_options",
    cls=GroupedOption,
    group="Search",
    multiple=True,
    metavar="BACKBONE.NAME=VALUE",
    help="Option of one of the backbones, listed by 'zoo info'; may be repeated.",
)
@click.option("--only", cls=GroupedOption, group="Search", is_flag=True, help="Try no others than the named backbones.")
@click.option(
    "--keep", cls=GroupedOption, group="Search", is_flag=True, help="Keep the runs that were not chosen, too."
)
@click.option(
    "--resume",
    cls=GroupedOption,
    group="Search",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    help="Go on with a search that was stopped, with its settings; --minutes gives it another time.",
)
@config_options(only=_COMMON)
@runs_option
@quiet_option
@json_option
def command(
    data: str | None,
    minutes: float | None,
    backbones: tuple[str, ...],
    backbone_options: tuple[str, ...],
    only: bool,
    keep: bool,
    resume: Path | None,
    runs: Path,
    quiet: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Find the best model that can be trained within some minutes.

    Tries the backbones whose weights are on this machine, by their probe, joins the best of them, tries other image
    sizes, and fine-tunes the best, as far as that fits into the time. Leaves a run like any other, and a table and a
    plot of all that was tried. Cross-validation and validation photos decide; the test photos are looked at once, by
    the chosen run.
    """
    given = given_values(values)
    if resume is not None and (data or backbones or backbone_options or only or given):
        raise UsageError("--resume takes all settings from the search.", hint="Leave out all options but --minutes.")
    data = require_data(data) if resume is None else None
    options = parse_pairs(backbone_options, flag="--backbone-option")
    from zoo.training.best.find_best import find_best, resume_search

    with display_events(quiet=quiet or as_json, next_steps=False) as observer:
        if data is None:
            assert resume is not None
            search = resume_search(resume, minutes=minutes, keep=keep, observer=observer)
        else:
            search = find_best(
                data,
                minutes=_MINUTES if minutes is None else minutes,
                backbones=backbones,
                backbone_options=options,
                only=only,
                keep=keep,
                runs=runs,
                observer=observer,
                **given,
            )
    if as_json:
        console.write_json(_describe(search))
    elif quiet:
        console.echo(search.run.path)
    else:
        _print(search)


def _describe(search: Search) -> dict[str, Any]:
    return {
        "run": str(search.run.path),
        "folder": str(search.folder),
        "seconds": search.seconds,
        "results": dict(search.run.results),
        "tried": [asdict(row) for row in search.rows],
    }


def _print(search: Search) -> None:
    header = ("", "tried", "accuracy", "than the chosen", "ms for a photo", "time")
    console.echo()
    console.write_table(header, [_cells(row) for row in search.rows], right=(0, 4, 5))
    console.echo()
    results = search.run.results
    split = "test" if "test" in results else "val"
    accuracy = format_accuracy(results[split]["accuracy"], results[split]["interval"])
    console.echo(f"{split} accuracy  {accuracy} ({results[split]['count']} photos)")
    console.echo(f"time           {format_duration(search.seconds)}")
    console.echo(f"table, plot    {search.folder}")
    console.echo(f"run            {search.run.path}")


def _cells(row: Row) -> tuple[str, ...]:
    if row.accuracy is None:
        result, difference = row.status, ""
    else:
        where = "cross-validation" if row.basis == "cross-validation" else "validation"
        result = f"{format_accuracy(row.accuracy, (row.low or 0, row.high or 0))} {where}"
        difference = "chosen" if row.chosen else _format_difference(row)
    speed = f"{row.milliseconds:.1f}" if row.milliseconds else NO_VALUE
    return str(row.number), row.name, result, difference, speed, format_duration(row.seconds)


def _format_difference(row: Row) -> str:
    if row.difference is None or row.difference_low is None or row.difference_high is None:
        return NO_VALUE
    return f"{100 * row.difference:+.1f} ({100 * row.difference_low:+.1f} to {100 * row.difference_high:+.1f})"
