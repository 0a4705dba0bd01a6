"""``zoo export``: writes a run as one file that takes raw pixels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from zoo.cli.options import GroupedCommand, flag_of, json_option, quiet_option, runs_option
from zoo.cli.terminal import console
from zoo.cli.terminal.observers import observing
from zoo.runs.open import open_run
from zoo_export.commands.words import gain_told, parity_told
from zoo_export.exporting import DEFAULT_OPSET, MAX_DROP, PHOTOS, export
from zoo_export.triton import CLIENT, check_servable, write_triton

if TYPE_CHECKING:
    from zoo.runs.run import Run
    from zoo_export.exporting import Exported

_NOT_OF_PT2 = ("input", "precision", "max_drop", "opset", "device")


@click.command(
    cls=GroupedCommand,
    name="export",
    epilog="\b\nFor example:\n"
    "  zoo export resnet18-linear-hotdog-1\n"
    "  zoo inspect runs/resnet18-linear-hotdog-1/model.onnx\n"
    "  zoo export resnet18-linear-hotdog-1 --to triton models/",
)
@click.argument("run")
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="The file.  [default: RUN/model.onnx]"
)
@click.option(
    "--input",
    type=click.Choice(["pixels", "tensor"]),
    default="pixels",
    show_default=True,
    help="pixels: uint8 RGB of any size, the preprocessing is inside; tensor: what the network itself takes.",
)
@click.option(
    "--to",
    type=click.Choice(["onnx", "triton", "pt2"]),
    default="onnx",
    show_default=True,
    help="triton: add the file to the model repository DIR as well, as the next version of a model; "
    "pt2: an archive for torch instead.",
)
@click.option("--name", metavar="NAME", help="What Triton's clients call the model.  [default: the run's name]")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8"]),
    default="fp32",
    show_default=True,
    help="fp16 and int8 are kept only if nearly as accurate, and faster here.",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(min=0, max=100),
    default=MAX_DROP,
    show_default=True,
    metavar="X",
    help="Points of validation accuracy that fp16 or int8 may cost.",
)
@click.option("--opset", type=int, default=DEFAULT_OPSET, show_default=True, metavar="N", help="Of the ONNX operators.")
@click.option("--no-verify", is_flag=True, help="Do not compare the file with the run; the file tells so.")
@click.option(
    "--data", metavar="DATA", help="Photos to compare on: a dataset, a folder, a CSV.  [default: the run's validation]"
)
@click.option(
    "--photos", type=click.IntRange(min=1), default=PHOTOS, show_default=True, metavar="N", help="How many to compare."
)
@click.option(
    "--device", default="auto", show_default=True, help="Where to compare: auto is everything there is; cpu, cuda."
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
    output: Path | None,
    to: str,
    name: str | None,
    no_verify: bool,
    runs: Path,
    quiet: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Export RUN to one ONNX file that takes raw pixels, and prove that it says what the run says."""
    _refuse_idle(ctx, to=to, precision=values["precision"], no_verify=no_verify)
    if (to == "triton") != (folder is not None):
        raise click.UsageError("Say both '--to triton' and the folder of the model repository, or neither.")
    opened = open_run(run, runs=runs)
    model = name or opened.name
    if folder is not None:
        # before anything slow begins
        check_servable(folder, name=model, input=values["input"], classes=opened.classes)
    with observing(quiet=quiet or as_json, next_steps=False) as observer:
        write = _export_pt2 if to == "pt2" else export
        exported = write(opened, output, verify=not no_verify, observer=observer, **values)
    served = None if folder is None else write_triton(exported.path, folder, name=model)
    if as_json:
        told = {"path": str(exported.path), "bytes": exported.bytes, **exported.card.to_dict()}
        console.write_json(told if served is None else {**told, "triton": str(served)})
    elif quiet:
        click.echo(served or exported.path)
    else:
        _write(exported, served)


def _refuse_idle(ctx: click.Context, *, to: str, precision: str, no_verify: bool) -> None:
    """Refuses options that would do nothing."""
    measured = precision != "fp32"
    for where, holds, names in (
        ("with --to pt2", to == "pt2", _NOT_OF_PT2),
        ("without --to triton", to != "triton", ("name",)),
        ("with --no-verify", no_verify, ("data", "photos")),
        ("with --no-verify", no_verify and not measured, ("device",)),
        ("in fp32", not measured, ("max_drop",)),
    ):
        for name in names if holds else ():
            if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                raise click.UsageError(f"{flag_of(name)} has no meaning {where}.", ctx)


def _export_pt2(run: Run, output: Path | None, **values: Any) -> Exported:
    from zoo_export.pt2 import export_pt2

    return export_pt2(run, output, **{name: value for name, value in values.items() if name not in _NOT_OF_PT2})


def _write(exported: Exported, served: Path | None) -> None:
    card = exported.card
    console.heading(str(exported.path))
    console.write_pairs(
        [
            ("size", f"{exported.bytes / 1e6:.1f} MB, {card.precision}{f', opset {card.opset}' if card.opset else ''}"),
            ("verified", parity_told(card.parity)),
            (card.precision, gain_told(card.quantisation)),
            ("time", console.duration(exported.seconds)),
            ("Triton", str(served or "")),
        ],
        indent=2,
    )
    if not card.opset:  # torch opens it, no command does
        return
    click.echo("\nWhat to try next:")
    click.echo(f"  zoo inspect {exported.path}")
    click.echo(f"  zoo predict {exported.path} photo.jpg")
    if served is not None:
        click.echo(f"  tritonserver --model-repository {served.parent.parent}")
        click.echo(f"  python {served.parent / CLIENT} photo.jpg")
