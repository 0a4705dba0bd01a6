"""``zoo tune``: searches for the best values of options."""

from __future__ import annotations

from dataclasses import asdict
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
from zoo.display.observers import display_events
from zoo.plugins.options import parse_pairs

if TYPE_CHECKING:
    from pathlib import Path

_SEARCH = "Search"


@click.command(
    cls=GroupedCommand,
    name="tune",
    epilog="\b\nFor example:\n"
    "  zoo tune resnet18 --data ./photos --search lr=1e-5..1e-2:log --search head-lr-multiplier=1,10\n"
    "  zoo tune resnet18 --data ./photos --search augment=none,trivialaugment --minutes 30\n"
    "  zoo tune resnet18 --data ./photos --search optimizer-option.beta2=0.9..0.999 --storage sqlite:///tune.db",
)
@click.argument("backbone", required=False, shell_complete=complete_offers("backbone"))
@click.option(
    "--search",
    cls=GroupedOption,
    group=_SEARCH,
    multiple=True,
    metavar="NAME=VALUES",
    help="Option to search, and its values: lr=1e-5..1e-2:log, epochs=2..8:step=2, freeze=none,60%, probe=yes,no or "
    "optimizer-option.beta2=0.9..0.99; may be repeated.",
)
@click.option(
    "--trials",
    cls=GroupedOption,
    group=_SEARCH,
    type=click.IntRange(min=1),
    metavar="N",
    help="Trials of the study in all, whichever process does them.  [default: 30, or as many as --minutes allow]",
)
@click.option(
    "--minutes",
    cls=GroupedOption,
    group=_SEARCH,
    type=click.FloatRange(min=0, min_open=True),
    metavar="X",
    help="End after this time.",
)
@click.option(
    "--study",
    cls=GroupedOption,
    group=_SEARCH,
    metavar="NAME",
    default="",
    help="Name of the study, by which it is continued and shared.  [default: made of backbone and data]",
)
@click.option(
    "--storage",
    cls=GroupedOption,
    group=_SEARCH,
    metavar="PLACE",
    default="",
    help="Where the study is stored: a journal file, the URL of a database (sqlite:///tune.db, postgresql://...) or "
    "grpc://host:port. Processes that name the same place share it.  [default: a file in the folder of the study]",
)
@config_options(without=("devices",))
@runs_option
@quiet_option
@json_option
def command(
    backbone: str | None,
    data: str | None,
    search: tuple[str, ...],
    trials: int | None,
    minutes: float | None,
    study: str,
    storage: str,
    runs: Path,
    quiet: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Search for the best values of options: fine-tune BACKBONE with different ones, and keep the best.

    Trials are compared by the validation photos, by default by the metric log-loss; --monitor chooses another one. No
    trial looks at the test photos. The result is a recipe for 'zoo finetune --recipe', and a report.

    The same command continues a study that was stopped or killed. Several processes share a study, also on several
    machines, if they name the same --storage and --study.
    """
    data = require_data(data)
    if not search:
        raise UsageError("Missing option '--search'.", hint="For example: --search lr=1e-5..1e-2:log")
    from zoo.training.tuning.tune import tune

    with display_events(quiet=quiet or as_json) as observer:
        result = tune(
            backbone,
            data=data,
            search=parse_pairs(search, flag="--search"),
            trials=trials,
            minutes=minutes,
            study=study,
            storage=storage,
            runs=runs,
            observer=observer,
            **given_values(values),
        )
    if as_json:
        console.write_json(asdict(result) | _paths(result))
    elif quiet:
        console.echo(result.recipe or "")


def _paths(result: Any) -> dict[str, str | None]:
    """Returns the paths of a result as text, which JSON has."""
    named = {name: getattr(result, name) for name in ("recipe", "report", "picture", "run")}
    return {name: None if path is None else str(path) for name, path in named.items()}
