"""``zoo compare``: fine-tunes with several values of options, and compares the results."""

from __future__ import annotations

import itertools
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.commands.options import (
    PAIRS,
    GroupedCommand,
    GroupedOption,
    config_options,
    flag_of,
    given_values,
    json_option,
    quiet_option,
    require_data,
    runs_option,
)
from zoo.cli.completion import complete_offers
from zoo.config import NAMES_OF, FinetuneConfig
from zoo.display import console
from zoo.display.formatting import format_duration
from zoo.display.observers import display_events
from zoo.errors import ConfigError
from zoo.plugins.options import OptionInfo, check_value, describe_options

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHARED = ("data_options", "metric", "metric_options", "tracker", "tracker_options")  # by all variants


@click.command(
    cls=GroupedCommand,
    name="compare",
    epilog="\b\nFor example:\n"
    "  zoo compare resnet18 --data hotdog --weights pretrained,none\n"
    "  zoo compare resnet18 --data hotdog --lr 1e-4,1e-3 --seeds 0,1,2\n"
    "  zoo compare resnet18 --data hotdog --augment none,mixup,cutmix",
)
@click.argument("backbone", shell_complete=complete_offers("backbone"))
@config_options(without=("seed", "devices"))
@click.option(
    "--seeds",
    cls=GroupedOption,
    group="Machine",
    metavar="N,N,...",
    default="0",
    show_default=True,
    help="Seeds; each variant is trained once with each of them.",
)
@runs_option
@click.option(
    "--output",
    "-o",
    cls=GroupedOption,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Directory for the plot and the table.  [default: the directory of the runs]",
)
@quiet_option
@json_option
def command(
    backbone: str,
    data: str | None,
    seeds: str,
    runs: Path,
    output: Path | None,
    quiet: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Fine-tune BACKBONE with several values of options, and compare the results in a table and a plot.

    Every option accepts several values, separated by commas, and so does NAME=VALUE. Each combination of values is one
    variant. Data, metrics and trackers are the same for all.
    """
    data = require_data(data)
    grid, common = split_grid(given_values(values))
    seed_values = [check_value(_info("seed"), seed.strip(), owner="compare") for seed in seeds.split(",")]
    if not grid and len(seed_values) == 1:
        raise ConfigError(
            "There is nothing to compare: no option has several values.",
            hint="Separate values by commas: --weights pretrained,none or --seeds 0,1,2",
        )
    from zoo.metrics.intervals import format_mean
    from zoo.training.compare import compare

    with display_events(quiet=quiet or as_json, next_steps=False) as observer:
        comparison = compare(
            backbone,
            data=data,
            grid=grid,
            common=common,
            seeds=seed_values,
            runs=runs,
            output=output,
            observer=observer,
        )
    if as_json:
        console.write_json([asdict(variant) for variant in comparison.variants])
        return
    if not quiet:
        rows = [
            (
                variant.name,
                format_mean(variant.accuracies),
                str(len(variant.runs)),
                format_duration(fmean(variant.seconds)),
            )
            for variant in comparison.variants
        ]
        console.write_table(("variant", comparison.variants[0].figure, "runs", "time per run"), rows, right=(2, 3))
    console.echo(comparison.picture)


def split_grid(given: Mapping[str, Any]) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """Separates the options with several values from those with one, and checks every value.

    Raises:
        ConfigError: A value is invalid or given twice.
    """
    grid: dict[str, list[Any]] = {}
    common: dict[str, Any] = {}
    for name, value in given.items():
        choices = [value] if name in _SHARED else _choices(name, value)
        if any(each in choices[:index] for index, each in enumerate(choices)):
            flag = PAIRS[name] if name in PAIRS else f"{flag_of(name)} {value}"
            raise ConfigError(f"{flag} repeats a value.", hint="Give each value once.")
        if len(choices) > 1:
            grid[name] = choices
        else:
            common[name] = choices[0]
    return grid, common


def _choices(name: str, value: Any) -> list[Any]:
    """Returns the values of an option; of one that may be repeated, every combination of each time's values."""
    if name in PAIRS:
        lists = ([(key, each.strip()) for each in text.split(",")] for key, text in value.items())
        return [dict(pairs) for pairs in itertools.product(*lists)]
    if name in NAMES_OF:
        repeats = ([each.strip() for each in text.split(",")] for text in value)
        return [tuple(each for each in names if each != "none") for names in itertools.product(*repeats)]
    return [check_value(_info(name), each.strip(), owner="compare") for each in value.split(",")]


def _info(name: str) -> OptionInfo:
    return next(info for info in describe_options(FinetuneConfig) if info.name == name)
