"""``zoo export``: writes a run as one file that takes raw pixels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo.commands._options import GroupedCommand, json_option, quiet_option, runs_option
from zoo.run import open_run
from zoo.terminal import console
from zoo.terminal.observers import observing
from zoo_export.commands.words import parity_told
from zoo_export.exporting import DEFAULT_OPSET, PHOTOS, export
from zoo_export.triton import CLIENT, check_servable, write_triton

if TYPE_CHECKING:
    from zoo_export.card import InputKind
    from zoo_export.exporting import Exported


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
    type=click.Choice(["onnx", "triton"]),
    default="onnx",
    show_default=True,
    help="triton: add the file to the model repository DIR as well, as the next version of a model.",
)
@click.option("--name", metavar="NAME", help="What Triton's clients call the model.  [default: the run's name]")
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
def command(
    run: str,
    folder: Path | None,
    output: Path | None,
    input: InputKind,
    to: str,
    name: str | None,
    opset: int,
    no_verify: bool,
    data: str | None,
    photos: int,
    device: str,
    runs: Path,
    quiet: bool,
    as_json: bool,
) -> None:
    """Export RUN to one ONNX file that takes raw pixels, and prove that it says what the run says."""
    if (to == "triton") != (folder is not None):
        raise click.UsageError("Say both '--to triton' and the folder of the model repository, or neither.")
    opened = open_run(run, runs=runs)
    model = name or opened.name
    if folder is not None:
        check_servable(model, input)  # before anything slow begins
    with observing(quiet=quiet or as_json, next_steps=False) as observer:
        exported = export(
            opened,
            output,
            input=input,
            opset=opset,
            verify=not no_verify,
            data=data,
            photos=photos,
            device=device,
            observer=observer,
        )
    served = None if folder is None else write_triton(exported.path, folder, name=model)
    if as_json:
        told = {"path": str(exported.path), "bytes": exported.bytes, **exported.card.to_dict()}
        console.write_json(told if served is None else {**told, "triton": str(served)})
    elif quiet:
        click.echo(served or exported.path)
    else:
        _write(exported, served)


def _write(exported: Exported, served: Path | None) -> None:
    card = exported.card
    console.heading(str(exported.path))
    console.write_pairs(
        [
            ("size", f"{exported.bytes / 1e6:.1f} MB, {card.precision}, opset {card.opset}"),
            ("verified", parity_told(card.parity)),
            ("time", console.duration(exported.seconds)),
            ("Triton", str(served or "")),
        ],
        indent=2,
    )
    click.echo("\nWhat to try next:")
    click.echo(f"  zoo inspect {exported.path}")
    click.echo(f"  zoo predict {exported.path} photo.jpg")
    if served is not None:
        click.echo(f"  tritonserver --model-repository {served.parent.parent}")
        click.echo(f"  python {served.parent / CLIENT} photo.jpg")
