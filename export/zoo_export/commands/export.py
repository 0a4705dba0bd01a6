"""``zoo export``: exports a run to a file or a folder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from zoo.cli.commands.options import (
    GroupedCommand,
    GroupedOption,
    field_option,
    flag_of,
    json_option,
    quiet_option,
    runs_option,
)
from zoo.cli.completion import complete_offers, complete_runs
from zoo.display import console
from zoo.display.formatting import format_bytes, format_duration
from zoo.display.observers import display_events
from zoo.errors import ExportError
from zoo.inference.export import export_run
from zoo.plugins.kinds import EXPORT_TARGET
from zoo.plugins.options import describe_options, option_flag, parse_pairs
from zoo.plugins.registry import load_registry
from zoo.plugins.specs.export_targets import PHOTOS
from zoo.runs.open import open_run
from zoo_export.commands.formatting import format_gain, format_parity
from zoo_export.exported_files import ARCHIVE, FILE, ONNX
from zoo_export.inspection import read_card
from zoo_export.model_card import KEY, ModelCard
from zoo_export.targets.options import TritonOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.inference.export import Export

F = TypeVar("F", bound=Callable[..., Any])
_OPTION = option_flag(EXPORT_TARGET.name)
# Options of targets that have a flag of their own.
_FLAGS = ("input", "precision", "max_drop", "opset", "device", "name")
_CONFIG = "config.json"  # of a folder that timm loads
_BESIDES = "file"  # the option that -o sets if PATH says where to write


def _target_flags(function: F) -> F:
    """Adds a flag for each of some options of the built-in targets."""
    infos = {info.name: info for info in describe_options(TritonOptions)}
    for name in reversed(_FLAGS):
        function = field_option(infos[name], group="Targets onnx and triton")(function)
    return function


@click.command(
    cls=GroupedCommand,
    name="export",
    epilog="\b\nFor example:\n"
    "  zoo export resnet18-linear-hotdog-1\n"
    "  zoo inspect runs/resnet18-linear-hotdog-1/model.onnx\n"
    "  zoo export resnet18-linear-hotdog-1 --to triton models/",
)
@click.argument("run", shell_complete=complete_runs)
@click.argument("folder", metavar="[PATH]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--to",
    cls=GroupedOption,
    group="Target",
    default="onnx",
    show_default=True,
    metavar="NAME",
    shell_complete=complete_offers(EXPORT_TARGET.name),
    help=f"What to export to: a name from 'zoo list {EXPORT_TARGET.word}'.",
)
@click.option(
    "-o",
    "--output",
    cls=GroupedOption,
    group="Target",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The file or folder to write, like PATH.  [default: one in the run folder]",
)
@click.option(
    _OPTION,
    "pairs",
    cls=GroupedOption,
    group="Target",
    multiple=True,
    metavar="NAME=VALUE",
    help="Option of the target, listed by 'zoo info'; may be repeated.",
)
@_target_flags
@click.option(
    "--no-verify",
    cls=GroupedOption,
    group="Comparison",
    is_flag=True,
    help="Do not compare the file with the run; the file records it.",
)
@click.option(
    "--data",
    cls=GroupedOption,
    group="Comparison",
    metavar="DATA",
    help="Photos to compare on: a dataset, a folder or a CSV file; fp16 and int8 are scored on them, too.  "
    "[default: the run's validation photos]",
)
@click.option(
    "--photos",
    cls=GroupedOption,
    group="Comparison",
    type=click.IntRange(min=1),
    default=PHOTOS,
    show_default=True,
    metavar="N",
    help="Number of photos to compare.",
)
@runs_option
@quiet_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    run: str,
    folder: Path | None,
    to: str,
    output: Path | None,
    pairs: tuple[str, ...],
    no_verify: bool,
    data: str | None,
    photos: int,
    runs: Path,
    quiet: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Export RUN to one ONNX file that takes raw pixels, or to another target, and prove that it predicts the same."""
    registry, opened = load_registry(), open_run(run, runs=runs)
    known = {info.name for info in describe_options(registry.find(EXPORT_TARGET, to).spec.options)}
    values: dict[str, Any] = {name: value for name, value in flags.items() if value is not None}
    if folder is not None and output is not None:
        values[_BESIDES] = str(output)
    options = {**values, **parse_pairs(pairs, flag=_OPTION)}
    reduced = options.get("precision", "fp32") != "fp32"
    _refuse_unused_options(ctx, to=to, unknown=[*values.keys() - known], no_verify=no_verify, reduced=reduced)
    started = time.monotonic()
    with display_events(quiet=quiet or as_json, next_steps=False) as observer:
        export = export_run(
            opened,
            to,
            output=folder or output,
            options=options,
            verify=not no_verify,
            data=data,
            photos=photos,
            observer=observer,
            registry=registry,
        )
    card = _find_card(export.path)
    if as_json:
        result = {"path": str(export.path), "target": export.offer.name, "bytes": _size(export.path)}
        console.write_json({**result, **(card.to_dict() if card is not None else {"verified": not no_verify})})
    elif quiet:
        console.echo(export.path)
    else:
        _write(export, card, verify=not no_verify, seconds=time.monotonic() - started)


def _refuse_unused_options(
    ctx: click.Context, *, to: str, unknown: Sequence[str], no_verify: bool, reduced: bool
) -> None:
    """Raises a usage error for options that would have no effect."""
    for name in unknown:
        flag = "--output beside PATH" if name == _BESIDES else flag_of(name)
        raise click.UsageError(f"{flag} has no effect with --to {to}.", ctx)
    for where, applies, names in (
        ("with --no-verify", no_verify, ("photos",)),
        ("with --no-verify", no_verify and not reduced, ("data", "device")),
        ("in fp32", not reduced, ("max_drop",)),
    ):
        for name in names if applies else ():
            if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                raise click.UsageError(f"{flag_of(name)} has no effect {where}.", ctx)


def _find_card(path: Path) -> ModelCard | None:
    """Returns the card in what was written, if it has one: in a file, or under ``zoo`` in the file of a folder."""
    file, config = path / FILE if path.is_dir() else path, path / _CONFIG
    with suppress(ExportError, OSError, ValueError, KeyError, TypeError):  # of a target that writes no cards
        if file.suffix in (ONNX, ARCHIVE) and file.is_file():
            return read_card(file)
        if config.is_file():
            card = json.loads(config.read_text(encoding="utf-8"))[KEY]
            return ModelCard.from_json(json.dumps(card), where=str(config))
    return None


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(file.stat().st_size for file in files)


def _write(export: Export, card: ModelCard | None, *, verify: bool, seconds: float) -> None:
    console.write_heading(str(export.path))
    pairs = [("size", format_bytes(_size(export.path)))]
    if card is None:
        pairs.append(("target", f"{export.offer.name} {export.offer.plugin.version}".rstrip()))
        pairs.append(("verified", "yes, by the target" if verify else format_parity({})))
    else:
        pairs = [("size", f"{pairs[0][1]}, {card.precision}{f', opset {card.opset}' if card.opset else ''}")]
        pairs += [("verified", format_parity(card.parity)), (card.precision, format_gain(card.quantisation))]
    console.write_pairs([*pairs, ("time", format_duration(seconds))], indent=2)
    if export.usage:
        console.echo("\nWhat to try next:")
        for line in export.usage:
            console.echo(f"  {line}")
