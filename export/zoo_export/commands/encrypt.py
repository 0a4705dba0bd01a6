"""``zoo encrypt``: encrypts a file with age."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli.options import runs_option
from zoo_export.commands.passphrases import new_passphrase, passphrase_option
from zoo_export.files import find_file, take_in
from zoo_export.secrecy import SUFFIX, encrypt_file, read_recipients
from zoo_export.secrecy import new_key as write_key


@click.command(name="encrypt")
@click.argument("path", metavar="RUN-OR-FILE", required=False)
@click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="KEY",
    help="Encrypt for this key, not with a passphrase: age1..., or a file with keys; repeatable.",
)
@click.option("--new-key", type=click.Path(path_type=Path), metavar="FILE", help="Write a new private key, and use it.")
@passphrase_option
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="The file to write.  [default: FILE.age]"
)
@runs_option
def command(
    path: str | None,
    keys: tuple[str, ...],
    new_key: Path | None,
    passphrase_file: Path | None,
    output: Path | None,
    runs: Path,
) -> None:
    """Encrypt an exported file, or that of a run, with a passphrase or for keys.

    The tool age opens what this writes, and the other way round. The plain file stays where it is.
    """
    if path is None and new_key is None:
        raise click.UsageError("What is to be encrypted? Name a run or a file, or make a key with --new-key.")
    if passphrase_file is not None and (keys or new_key):
        raise click.UsageError("A file is encrypted with a passphrase or for keys, not both.")
    source = find_file(path, runs=runs) if path is not None else None
    recipients = [recipient for key in keys for recipient in read_recipients(key)]
    if new_key is not None:
        recipients.append(write_key(new_key))
        click.echo(f"public key: {recipients[-1]}", err=True)
    if source is None:
        return
    target = output or source.with_name(f"{source.name}{SUFFIX}")
    passphrase = "" if recipients else new_passphrase(passphrase_file, target.name)
    encrypt_file(source, target, passphrase=passphrase, recipients=recipients)
    take_in(target)
    click.echo(target)
