"""``zoo verify``: tells what has changed in a run or a file since it was made, named or signed."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli.commands.options import json_option, runs_option
from zoo.cli.terminal import console
from zoo.utils.text import printable
from zoo_export.verification import Check, verify


@click.command(name="verify")
@click.argument("path", metavar="RUN-OR-FILE")
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    metavar="FILE.pub",
    help="Check the signature too, with this public key; there must be one.",
)
@runs_option
@json_option
@click.pass_context
def command(ctx: click.Context, path: str, key: Path | None, runs: Path, as_json: bool) -> None:
    """Tell what has changed in a run, a tag's run or a file since it was made, tagged or signed.

    Every changed, missing and additional file is named; the exit code is then 1.
    """
    checks = verify(path, runs=runs, key=key)
    if as_json:
        console.write_json([check.to_dict() for check in checks])
    else:
        _write(checks)
    if not all(check.ok for check in checks):
        ctx.exit(1)


def _write(checks: list[Check]) -> None:
    for check in checks:
        mark = click.style("ok    ", fg="green") if check.ok else click.style("failed", fg="red", bold=True)
        click.echo(f"{mark}  {check.about}: {printable(check.text)}")
        for file, state in check.files:
            click.echo(f"        {state}: {printable(file)}")
