"""``zoo compare``: fine-tunes with several values of an option, and draws the curves beside each other."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.commands.finetune import require_data
from zoo.cli.commands.options import (
    PAIRS,
    GroupedCommand,
    GroupedOption,
    config_options,
    flag_of,
    given_values,
    quiet_option,
    runs_option,
)
from zoo.cli.terminal import console
from zoo.cli.terminal.formatting import format_duration, format_percent
from zoo.cli.terminal.observers import display_events
from zoo.config import FinetuneConfig
from zoo.errors import ConfigError
from zoo.plugins.options import OptionInfo, check_value, describe_options

if TYPE_CHECKING:
    from collections.abc import Mapping


@click.command(
    cls=GroupedCommand,
    name="compare",
    epilog="\b\nFor example:\n"
    "  zoo compare resnet18 --data hotdog --weights pretrained,none\n"
    "  zoo compare resnet18 --data hotdog --lr 1e-4,1e-3 --seeds 0,1,2",
)
@click.argument("backbone")
@config_options(without=("seed", "devices"))
@click.option(
    "--seeds",
    cls=GroupedOption,
    group="Machine",
    metavar="N,N,...",
    default="0",
    show_default=True,
    help="Train each variant once with each of these seeds.",
)
@runs_option
@click.option(
    "--output",
    "-o",
    cls=GroupedOption,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of the picture and the table.  [default: that of the runs]",
)
@quiet_option
@click.option("--json", "as_json", cls=GroupedOption, is_flag=True, help="Print the table as JSON, and nothing else.")
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
    """Fine-tune BACKBONE with several values of an option, and draw the curves beside each other.

    Any option takes several values, separated by commas; every combination is one variant.
    """
    data = require_data(data)
    grid, common = split_grid(given_values(values))
    tried = [check_value(_info("seed"), seed.strip(), owner="compare") for seed in seeds.split(",")]
    if not grid and len(tried) == 1:
        raise ConfigError(
            "There is nothing to compare: no option has several values.",
            hint="Separate values by commas: --weights pretrained,none or --seeds 0,1,2",
        )
    from zoo.training.compare import compare

    with display_events(quiet=quiet or as_json, next_steps=False) as observer:
        comparison = compare(
            backbone,
            data=data,
            grid=grid,
            common=common,
            seeds=tried,
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
                _mean(variant.mean, variant.half_width),
                str(len(variant.runs)),
                format_duration(fmean(variant.seconds)),
            )
            for variant in comparison.variants
        ]
        console.write_table(("variant", "accuracy", "runs", "time a run"), rows, right=(2, 3))
    click.echo(comparison.picture)


def split_grid(given: Mapping[str, Any]) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """Tells the options with several values from those with one; every value is parsed and checked.

    Raises:
        ConfigError: A value is wrong, or said twice.
    """
    grid: dict[str, list[Any]] = {}
    common: dict[str, Any] = {}
    for name, text in given.items():
        if name in PAIRS:
            common[name] = text
            continue
        choices = [check_value(_info(name), part.strip(), owner="compare") for part in text.split(",")]
        if len(set(choices)) < len(choices):
            raise ConfigError(f"{flag_of(name)} {text} names a value twice.", hint="Say each value once.")
        if len(choices) > 1:
            grid[name] = choices
        else:
            common[name] = choices[0]
    return grid, common


def _info(name: str) -> OptionInfo:
    return next(info for info in describe_options(FinetuneConfig) if info.name == name)


def _mean(mean: float, half_width: float | None) -> str:
    return format_percent(mean) if half_width is None else f"{format_percent(mean)} ± {100 * half_width:.1f}"
