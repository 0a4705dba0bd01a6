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

if TYPE_CHECKING:
    from zoo_export.card import InputKind
    from zoo_export.exporting import Exported


@click.command(
    cls=GroupedCommand,
    name="export",
    epilog="\b\nFor example:\n"
    "  zoo export resnet18-linear-hotdog-1\n"
    "  zoo inspect runs/resnet18-linear-hotdog-1/model.onnx",
)
@click.argument("run")
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
    output: Path | None,
    input: InputKind,
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
    opened = open_run(run, runs=runs)
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
    if as_json:
        console.write_json({"path": str(exported.path), "bytes": exported.bytes, **exported.card.to_dict()})
    elif quiet:
        click.echo(exported.path)
    else:
        _write(exported)


def _write(exported: Exported) -> None:
    card = exported.card
    console.heading(str(exported.path))
    console.write_pairs(
        [
            ("size", f"{exported.bytes / 1e6:.1f} MB, {card.precision}, opset {card.opset}"),
            ("verified", parity_told(card.parity)),
            ("time", console.duration(exported.seconds)),
        ],
        indent=2,
    )
    click.echo("\nWhat to try next:")
    click.echo(f"  zoo inspect {exported.path}")
    click.echo(f"  zoo predict {exported.path} photo.jpg")
