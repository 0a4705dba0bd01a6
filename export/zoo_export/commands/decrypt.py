"""``zoo decrypt``: decrypts a file that age encrypted."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli.terminal import console
from zoo.errors import IntegrityError
from zoo_export.commands.passphrases import passphrase_option
from zoo_export.secrecy import KEY_FILE, SUFFIX, decrypt_file, find_secret, read_key_file, read_passphrase


@click.command(name="decrypt")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--key", type=click.Path(path_type=Path), metavar="FILE", help=f"File of the private key.  [default: ${KEY_FILE}]"
)
@passphrase_option
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write.  [default: without .age]",
)
def command(path: Path, key: Path | None, passphrase_file: Path | None, output: Path | None) -> None:
    """Decrypt FILE to a plain file, once it is proven whole and unchanged.

    To use a model that is not needed: 'zoo predict model.onnx.age' decrypts into memory alone.
    """
    if key is not None and passphrase_file is not None:
        raise click.UsageError("Say --key or --passphrase-file, not both.")
    if output is None and path.suffix != SUFFIX:
        raise click.UsageError(f"{path} does not end with {SUFFIX}: name the plain file with -o.")
    target = output or path.with_suffix("")
    if output is None and target.exists():
        raise IntegrityError(f"{target} is there already.", hint="Delete it, or name another with -o.")
    if key is not None:
        secret = read_key_file(key)
    elif passphrase_file is not None:
        secret = read_passphrase(passphrase_file)
    else:
        secret = find_secret(path, ask=console.passphrase_prompt())
    decrypt_file(path, target, secret)
    click.echo(target)
