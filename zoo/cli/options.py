"""Options that several commands share, and those that are made from the fields of `FinetuneConfig`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from zoo.cli.terminal.console import word
from zoo.config import FinetuneConfig
from zoo.plugins.options import OptionInfo, describe_options, parse_pairs
from zoo.recipes import RECIPES
from zoo.runs.run import RUNS

F = TypeVar("F", bound=Callable[..., Any])
PAIRS = {"backbone_options": "--backbone-option", "head_options": "--head-option", "data_options": "--data-option"}
_PAIR_GROUPS = {"backbone_options": "Model", "head_options": "Model", "data_options": "Data"}
_POSITIONAL = "backbone"
_ALSO = {"batch_size": ("--batch",)}  # further spellings
OUTPUT = "Output"


class GroupedOption(click.Option):
    """An option that the help page lists under a heading of its own."""

    def __init__(self, *args: Any, group: str = OUTPUT, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group


json_option = click.option("--json", "as_json", cls=GroupedOption, is_flag=True, help="Print JSON, for programs.")
quiet_option = click.option(
    "--quiet", "-q", cls=GroupedOption, is_flag=True, help="Print nothing but errors and the path of what was made."
)
runs_option = click.option(
    "--runs",
    cls=GroupedOption,
    type=click.Path(file_okay=False, path_type=Path),
    default=RUNS,
    show_default=True,
    metavar="DIR",
    help="Folder of the run folders.",
)
device_option = click.option(
    "--device", cls=GroupedOption, default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps."
)


class GroupedCommand(click.Command):
    """A command whose help page lists the options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the options, group by group in the order of their first appearance."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and not isinstance(parameter, click.Argument):  # which the usage line has
                groups.setdefault(getattr(parameter, "group", OUTPUT), []).append(record)
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl(records, col_max=26)


def config_options(*, only: Collection[str] | None = None, without: Collection[str] = ()) -> Callable[[F], F]:
    """Adds an option for every field of `FinetuneConfig`; or for some `only`, or for all `without` some.

    What the user does not say stays None and is not passed on: the recipe decides. Values are text, which
    `zoo.config` parses and checks, so that the same message is given here and in Python.
    """
    infos = describe_options(FinetuneConfig)
    groups = dict.fromkeys(info.group for info in infos)
    left_out = {_POSITIONAL, *without}
    wanted = [info for info in infos if info.name not in left_out and (only is None or info.name in only)]
    pairs = [name for name in PAIRS if only is None or name in only]
    made = [option for group in groups for option in _options_of(group, wanted, pairs)]

    def add(function: F) -> F:
        for option in reversed(made):
            function = option(function)
        return function

    return add


def given_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields that the user gave, by name; ``name=value`` pairs as dicts.

    Raises:
        ConfigError: A pair is not of the form ``name=value``.
    """
    given = {name: value for name, value in values.items() if value is not None and name not in PAIRS}
    pairs = {name: parse_pairs(values[name], flag=flag) for name, flag in PAIRS.items() if values.get(name)}
    return {**given, **pairs}


def flag_of(name: str) -> str:
    """Returns ``--label-smoothing`` for ``label_smoothing``."""
    return f"--{name.replace('_', '-')}"


def _options_of(group: str, infos: Sequence[OptionInfo], pairs: Sequence[str]) -> list[Callable[[F], F]]:
    options = [
        click.option(
            *_ALSO.get(info.name, ()),
            flag_of(info.name),
            info.name,
            cls=GroupedOption,
            group=group,
            metavar=_metavar(info),
            help=_help(info),
        )
        for info in infos
        if info.group == group
    ]
    pair_options = [
        click.option(
            PAIRS[name],
            name,
            cls=GroupedOption,
            group=group,
            multiple=True,
            metavar="NAME=VALUE",
            help=f"Option of the {PAIRS[name][2:-7]}, as 'zoo info' lists them; repeatable.",
        )
        for name in pairs
        if _PAIR_GROUPS[name] == group
    ]
    return [*options, *pair_options]


def _metavar(info: OptionInfo) -> str:
    if info.type is bool:
        return "yes|no"
    if info.choices:
        return "|".join(map(str, info.choices))
    words = (*info.words, *(("none",) if info.optional else ()))
    return "|".join(({"int": "N", "float": "X", "str": "TEXT"}[info.type.__name__], *words))


def _help(info: OptionInfo) -> str:
    """Returns the help text with the default, as the default recipe has it."""
    if info.name == "recipe":
        text = f"Values for all that is not said: {', '.join(RECIPES)}; 'zoo info RECIPE' lists them."
    else:
        text = info.help
    return f"{text}  [{'required' if info.required else f'default: {word(info.default)}'}]"
