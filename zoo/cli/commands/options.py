"""Options that several commands share, and options generated from the fields of `FinetuneConfig`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from zoo.cli.completion import complete_field, complete_offers
from zoo.cli.groups import UsageError
from zoo.config import OPTIONS_OF, FinetuneConfig
from zoo.display.formatting import format_option
from zoo.plugins.options import OptionInfo, describe_options, option_flag, parse_pairs
from zoo.runs.run import RUNS

F = TypeVar("F", bound=Callable[..., Any])
PAIRS = {name: option_flag(kind) for name, kind in OPTIONS_OF.items()}
OUTPUT = "Output"
# The headings of options that have no field with a heading of its own.
_GROUPS = {
    "backbone_options": "Model",
    "head_options": "Model",
    "data_options": "Data",
    "optimizer_options": "Training",
    "schedule_options": "Training",
    "loss_options": "Training",
    "metric": "Training",
    "metric_options": "Training",
    "augment": "Augmentation",
    "augment_options": "Augmentation",
    "tracker": OUTPUT,
    "tracker_options": OUTPUT,
}
_REPEATED_HELP = {
    "augment": "Augmentation to add: a name from 'zoo list augmentations'; may be repeated, in order.",
    "data_options": "Option of the dataset, listed by 'zoo info', or of a table: labels, separator, multi-label; may "
    "be repeated.",
    "metric": "Metric to add to the results: a name from 'zoo list metrics'; may be repeated.",
    "tracker": "Tracker of experiments to report to: a name from 'zoo list trackers'; may be repeated.",
}
_POSITIONAL = "backbone"
_ALIASES = {"batch_size": ("--batch",)}


class GroupedOption(click.Option):
    """An option with a heading on the help page, and with aliases that the page does not list.

    Args:
        param_decls: As for `click.Option`.
        group: The heading.
        aliases: Other spellings, such as former names.
        **attrs: As for `click.Option`.
    """

    def __init__(
        self, param_decls: Sequence[str], *, group: str = OUTPUT, aliases: Sequence[str] = (), **attrs: Any
    ) -> None:
        super().__init__([*param_decls, *aliases], **attrs)
        self.group = group
        self.aliases = tuple(aliases)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Returns the names and the help text of the option, without its aliases."""
        with self._without_aliases():
            return super().get_help_record(ctx)

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Returns how messages call the option, without its aliases."""
        with self._without_aliases():
            return super().get_error_hint(ctx)

    @contextmanager
    def _without_aliases(self) -> Iterator[None]:
        spellings = self.opts
        self.opts = [spelling for spelling in spellings if spelling not in self.aliases]
        try:
            yield
        finally:
            self.opts = spellings


json_option = click.option("--json", "as_json", cls=GroupedOption, is_flag=True, help="Print the result as JSON.")
quiet_option = click.option("--quiet", "-q", cls=GroupedOption, is_flag=True, help="Print only the result and errors.")
runs_option = click.option(
    "--runs",
    cls=GroupedOption,
    type=click.Path(file_okay=False, path_type=Path),
    default=RUNS,
    show_default=True,
    metavar="DIR",
    help="Directory of the runs.",
)
device_option = click.option(
    "--device",
    cls=GroupedOption,
    default="auto",
    show_default=True,
    help="Device to use: auto, cpu, cuda, cuda:1 or mps.",
)


def split_option(*, default: str = "test", help: str) -> Callable[[F], F]:
    """Returns the option ``--split``, formerly ``--part``."""
    return click.option(
        "--split",
        cls=GroupedOption,
        aliases=("--part",),
        type=click.Choice(["train", "val", "test"]),
        default=default,
        show_default=True,
        help=help,
    )


def data_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the argument DATA, which may be written ``--data DATA`` as well, as for the commands that train."""

    @wraps(function)
    def command(*args: Any, data: str | None, named_data: str | None, **values: Any) -> Any:
        if data is not None and named_data is not None:
            raise UsageError(f"The data is given twice: {data} and --data {named_data}.")
        if data is None and named_data is None:
            raise UsageError("Missing argument 'DATA'.")
        return function(*args, data=named_data if data is None else data, **values)

    complete = complete_offers("dataset", files=True)
    option = click.option(
        "--data",
        "named_data",
        cls=GroupedOption,
        group="Data",
        metavar="DATA",
        shell_complete=complete,
        help="DATA as an option, as 'zoo finetune' takes it.",
    )
    return click.argument("data", required=False, metavar="DATA", shell_complete=complete)(option(command))


def require_data(data: str | None) -> str:
    """Returns `data` if it was given.

    Raises:
        UsageError: It was not; the message lists what it can be.
    """
    if data:
        return data
    from zoo.plugins.kinds import DATASET
    from zoo.plugins.registry import load_registry

    names = ", ".join(offer.spec.name for offer in load_registry().offers(DATASET)) or "none installed"
    raise UsageError(
        "Missing option '--data'. It can be:\n"
        f"  a dataset        {names}\n"
        "  a folder         ./photos, with one subfolder of photos per class\n"
        "  a CSV file       photos.csv, with the columns path,label",
        ctx=click.get_current_context(),
    )


class GroupedCommand(click.Command):
    """A command whose help page lists the options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the options, group by group in the order of their first appearance."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and not isinstance(parameter, click.Argument):  # the usage line has the arguments
                groups.setdefault(getattr(parameter, "group", OUTPUT), []).append(record)
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl(records, col_max=26)


def config_options(*, only: Collection[str] | None = None, without: Collection[str] = ()) -> Callable[[F], F]:
    """Adds an option for each field of `FinetuneConfig`, or for some of them.

    Options that the user does not pass stay None, so that the recipe provides their values. Values are passed on as
    text: `zoo.config` parses and checks them, with the same messages as in Python.

    Args:
        only: Names of the fields to add; all if None.
        without: Names of fields to leave out.
    """
    infos = describe_options(FinetuneConfig)
    groups = dict.fromkeys(info.group for info in infos)
    excluded = {_POSITIONAL, *without}
    selected = [info for info in infos if info.name not in excluded and (only is None or info.name in only)]
    others = [name for name in _GROUPS if only is None or name in only]
    options = [option for group in [*groups, OUTPUT] for option in _options_of(group, selected, others)]

    def add_options(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return add_options


def given_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values that the user passed, by field; ``name=value`` pairs as dicts.

    Raises:
        ConfigError: A pair is not of the form ``name=value``.
    """
    given = {name: value for name, value in values.items() if value not in (None, ()) and name not in PAIRS}
    pairs = {name: parse_pairs(values[name], flag=flag) for name, flag in PAIRS.items() if values.get(name)}
    return {**given, **pairs}


def flag_of(name: str) -> str:
    """Returns ``--label-smoothing`` for ``label_smoothing``."""
    return f"--{name.replace('_', '-')}"


def _options_of(group: str, infos: Sequence[OptionInfo], others: Sequence[str]) -> list[Callable[[F], F]]:
    options = [
        field_option(info, group=group, aliases=_ALIASES.get(info.name, ()), shell_complete=complete_field(info.name))
        for info in infos
        if info.group == group
    ]
    repeated_options = [
        click.option(
            PAIRS.get(name, flag_of(name)),
            name,
            cls=GroupedOption,
            group=group,
            multiple=True,
            shell_complete=None if name in PAIRS else complete_field(name),
            metavar="NAME=VALUE" if name in PAIRS else "NAME",
            help=_REPEATED_HELP[name]
            if name in _REPEATED_HELP
            else f"Option of the {OPTIONS_OF[name]}, listed by 'zoo info'; may be repeated.",
        )
        for name in others
        if _GROUPS[name] == group
    ]
    return [*options, *repeated_options]


def field_option(info: OptionInfo, *, group: str, **attrs: Any) -> Callable[[F], F]:
    """Returns the option of a field; its value is passed on as text, and is None if the user does not pass it.

    Args:
        info: The field.
        group: The heading.
        **attrs: As for `GroupedOption`.
    """
    return click.option(
        flag_of(info.name),
        info.name,
        cls=GroupedOption,
        group=group,
        metavar=_metavar(info),
        help=_help(info),
        **attrs,
    )


def _metavar(info: OptionInfo) -> str:
    if info.type is bool:
        return "yes|no"
    if info.choices:
        return "|".join(map(str, info.choices))
    words = (*info.literals, *(("none",) if info.optional else ()))
    return "|".join(({"int": "N", "float": "X", "str": "TEXT"}[info.type.__name__], *words))


def _help(info: OptionInfo) -> str:
    """Returns the help text with the default, which is that of the default recipe."""
    return f"{info.help}  [{'required' if info.required else f'default: {format_option(info.default)}'}]"
