"""``zoo sign``: signs a run folder or a file."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli.options import runs_option
from zoo.cli.terminal import console
from zoo.runs.open import locate
from zoo_export.signing import new_key as write_key
from zoo_export.signing import sign


@click.command(name="sign")
@click.argument("path", metavar="RUN-OR-FILE", required=False)
@click.option("--key", type=click.Path(path_type=Path), metavar="FILE", help="The private key: PEM, P-256 or larger.")
@click.option(
    "--new-key", type=click.Path(path_type=Path), metavar="FILE", help="Write a new key, FILE and FILE.pub, and use it."
)
@runs_option
def command(path: str | None, key: Path | None, new_key: Path | None, runs: Path) -> None:
    """Sign a run, all of its files, or one file; the signature is written beside them.

    'zoo verify RUN-OR-FILE --key FILE.pub' checks it. Needs the extra finetune-zoo[sign].
    """
    if (key is None) == (new_key is None):
        raise click.UsageError("Sign with which key? Say --key FILE, or --new-key FILE to make one.")
    if path is None and new_key is None:
        raise click.UsageError("What is to be signed? Name a run or a file.")
    located = locate(path, runs=runs) if path is not None else None
    if new_key is not None:
        click.echo(f"public key: {write_key(new_key)}", err=True)
    if located is not None and (private := key or new_key) is not None:
        click.echo(sign(located, key=private, passphrase=console.passphrase_prompt()))
