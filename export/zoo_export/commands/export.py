"""``zoo export``: exports a run to a single file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from zoo.cli.commands.options import GroupedCommand, flag_of, json_option, quiet_option, runs_option
from zoo.cli.completion import complete_runs
from zoo.display import console
from zoo.display.formatting import format_duration
from zoo.display.observers import display_events
from zoo.runs.open import open_run
from zoo_export.commands.formatting import format_gain, format_parity
from zoo_export.targets.onnx import export_onnx
from zoo_export.targets.options import DEFAULT_OPSET, MAX_DROP, PHOTOS
from zoo_export.targets.triton import CLIENT, check_triton, write_triton

if TYPE_CHECKING:
    from zoo_export.exported_files import ExportedFile

_ONNX_ONLY = ("input", "precision", "max_drop", "opset", "device")


@click.command(
    cls=GroupedCommand,
    name="export",
    epilog="\b\nFor example:\n"
    "  zoo export resnet18-linear-hotdog-1\n"
    "  zoo inspect runs/resnet18-linear-hotdog-1/model.onnx\n"
    "  zoo export resnet18-linear-hotdog-1 --to triton models/",
)
@click.argument("run", shell_complete=complete_runs)
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The file to write.  [default: RUN/model.onnx]",
)
@click.option(
    "--input",
    type=click.Choice(["pixels", "tensor"]),
    default="pixels",
    show_default=True,
    help="pixels: uint8 RGB of any size, with the preprocessing in the graph; tensor: the normalised input of the "
    "network.",
)
@click.option(
    "--to",
    type=click.Choice(["onnx", "triton", "pt2"]),
    default="onnx",
    show_default=True,
    help="triton: also add the file to the model repository DIR, as the next version of a model; "
    "pt2: write an archive for torch instead.",
)
@click.option("--name", metavar="NAME", help="Name of the model in Triton.  [default: the run's name]")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8"]),
    default="fp32",
    show_default=True,
    help="fp16 and int8 are written only if they are nearly as accurate, and faster on this machine.",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(min=0, max=100),
    default=MAX_DROP,
    show_default=True,
    metavar="X",
    help="Percentage points of accuracy that fp16 or int8 may lose.",
)
@click.option(
    "--opset", type=int, default=DEFAULT_OPSET, show_default=True, metavar="N", help="Version of the ONNX operators."
)
@click.option("--no-verify", is_flag=True, help="Do not compare the file with the run; the file records it.")
@click.option(
    "--data",
    metavar="DATA",
    help="Photos to compare on: a dataset, a folder or a CSV file; fp16 and int8 are scored on them, too.  "
    "[default: the run's validation photos]",
)
@click.option(
    "--photos",
    type=click.IntRange(min=1),
    default=PHOTOS,
    show_default=True,
    metavar="N",
    help="Number of photos to compare.",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    help="Where to compare: auto (every device that works), cpu or cuda.",
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
    """Export RUN to one ONNX file that takes raw pixels, and prove that it predicts what the run predicts."""
    _refuse_unused_options(ctx, to=to, precision=values["precision"], no_verify=no_verify)
    if (to == "triton") != (folder is not None):
        raise click.UsageError("Pass both '--to triton' and the folder of the model repository, or neither.")
    opened = open_run(run, runs=runs)
    if output is None:
        opened.refuse_copy("Pass the file to write with -o FILE.")
    model = name or opened.name
    if folder is not None:
        check_triton(folder, name=model, input=values["input"], classes=opened.classes)
    with display_events(quiet=quiet or as_json, next_steps=False) as observer:
        if to == "pt2":
            from zoo_export.targets.pt2 import export_pt2

            values = {name: value for name, value in values.items() if name not in _ONNX_ONLY}
            exported = export_pt2(opened, output, verify=not no_verify, observer=observer, **values)
        else:
            exported = export_onnx(opened, output, verify=not no_verify, observer=observer, **values)
    version = None if folder is None else write_triton(exported.path, folder, name=model)
    if as_json:
        result = {"path": str(exported.path), "bytes": exported.bytes, **exported.card.to_dict()}
        console.write_json(result if version is None else {**result, "triton": str(version)})
    elif quiet:
        console.echo(version or exported.path)
    else:
        _write(exported, version)


def _refuse_unused_options(ctx: click.Context, *, to: str, precision: str, no_verify: bool) -> None:
    """Raises a usage error for options that would have no effect."""
    reduced = precision != "fp32"
    for where, applies, names in (
        ("with --to pt2", to == "pt2", _ONNX_ONLY),
        ("without --to triton", to != "triton", ("name",)),
        ("with --no-verify", no_verify, ("photos",)),
        ("with --no-verify", no_verify and not reduced, ("data", "device")),
        ("in fp32", not reduced, ("max_drop",)),
    ):
        for name in names if applies else ():
            if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                raise click.UsageError(f"{flag_of(name)} has no effect {where}.", ctx)


def _write(exported: ExportedFile, version: Path | None) -> None:
    card = exported.card
    console.write_heading(str(exported.path))
    console.write_pairs(
        [
            ("size", f"{exported.bytes / 1e6:.1f} MB, {card.precision}{f', opset {card.opset}' if card.opset else ''}"),
            ("verified", format_parity(card.parity)),
            (card.precision, format_gain(card.quantisation)),
            ("time", format_duration(exported.seconds)),
            ("Triton", str(version or "")),
        ],
        indent=2,
    )
    if not card.opset:  # an archive: no command opens it
        return
    console.echo("\nWhat to try next:")
    console.echo(f"  zoo inspect {exported.path}")
    console.echo(f"  zoo predict {exported.path} photo.jpg")
    if version is not None:
        console.echo(f"  tritonserver --model-repository {version.parent.parent}")
        console.echo(f"  python {version.parent / CLIENT} photo.jpg")
