"""``zoo encrypt`` and ``zoo decrypt``, with age."""

from __future__ import annotations

import os
from pathlib import Path

import click

from zoo.cli.commands.options import quiet_option, runs_option
from zoo.cli.completion import complete_runs
from zoo.display import console
from zoo.errors import IntegrityError
from zoo.plugins.hubs import is_on_hub
from zoo_export.exported_files import add_to_manifest, find_file
from zoo_export.security.encryption import (
    KEY_FILE,
    PASSPHRASE_FILE,
    SUFFIX,
    create_key,
    decrypt_file,
    encrypt_file,
    find_secret,
    read_key_file,
    read_passphrase,
    read_recipients,
)

_passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help=f"Read the passphrase from the first line of FILE.  [default: ${PASSPHRASE_FILE}, otherwise a prompt]",
)


@click.command(name="encrypt")
@click.argument("path", metavar="RUN-OR-FILE", required=False, shell_complete=complete_runs)
@click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="KEY",
    help="Encrypt for a key instead of a passphrase: age1..., or a file of keys; repeatable.",
)
@click.option(
    "--new-key", type=click.Path(path_type=Path), metavar="FILE", help="Create a private key, and encrypt for it."
)
@_passphrase_option
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The file to write.  [default: FILE.age]",
)
@runs_option
@quiet_option
def encrypt_command(
    path: str | None,
    keys: tuple[str, ...],
    new_key: Path | None,
    passphrase_file: Path | None,
    output: Path | None,
    runs: Path,
    quiet: bool,
) -> None:
    """Encrypt an exported file, or that of a run, with a passphrase or for keys.

    The plain file is kept. The tool age decrypts what this command writes, and vice versa.
    """
    if path is None and new_key is None:
        raise click.UsageError("Pass a run or a file to encrypt, or --new-key FILE to create a key.")
    if passphrase_file is not None and (keys or new_key):
        raise click.UsageError("Use either a passphrase or keys, not both.")
    if output is None and path is not None and is_on_hub(path):
        raise click.UsageError(f"{path} is on a hub: pass the file to write with -o FILE.")
    source = find_file(path, runs=runs) if path is not None else None
    recipients = [recipient for key in keys for recipient in read_recipients(key)]
    if new_key is not None:
        recipients.append(create_key(new_key))
        if not quiet:
            console.write_message(f"public key: {recipients[-1]}")
    if source is None:
        return
    target = output or source.with_name(f"{source.name}{SUFFIX}")
    passphrase = "" if recipients else read_new_passphrase(passphrase_file, target.name)
    encrypt_file(source, target, passphrase=passphrase, recipients=recipients)
    add_to_manifest(target)
    console.echo(target)


@click.command(name="decrypt")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"The file of the private key.  [default: ${KEY_FILE}]",
)
@_passphrase_option
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The file to write.  [default: FILE without .age]",
)
def decrypt_command(path: Path, key: Path | None, passphrase_file: Path | None, output: Path | None) -> None:
    """Decrypt FILE to a plain file, which appears only once it is complete and authenticated.

    Using a model does not need this: 'zoo predict model.onnx.age' decrypts into memory.
    """
    if key is not None and passphrase_file is not None:
        raise click.UsageError("Use either --key or --passphrase-file, not both.")
    if output is None and path.suffix != SUFFIX:
        raise click.UsageError(f"{path} does not end with {SUFFIX}: name the plain file with -o.")
    target = output or path.with_suffix("")
    if output is None and target.exists():
        raise IntegrityError(f"{target} already exists.", hint="Delete it, or name another file with -o.")
    if key is not None:
        secret = read_key_file(key)
    elif passphrase_file is not None:
        secret = read_passphrase(passphrase_file)
    else:
        secret = find_secret(path, ask=console.passphrase_prompt())
    decrypt_file(path, target, secret)
    console.echo(target)


def read_new_passphrase(file: Path | None, name: str) -> str:
    """Returns a passphrase to encrypt with: from a file, from the file in the environment, or typed twice.

    Args:
        file: A file with the passphrase, or None.
        name: The name of the encrypted file, for the prompt.

    Raises:
        IntegrityError: The passphrase is empty, or there is none and no terminal to ask on.
    """
    named = file or (Path(os.environ[PASSPHRASE_FILE]) if os.environ.get(PASSPHRASE_FILE) else None)
    if named is not None:
        return read_passphrase(named).passphrase or ""
    ask = console.passphrase_prompt(twice=True)
    if ask is None:
        raise IntegrityError(
            f"There is no passphrase for {name}, and no terminal to ask on.",
            hint=f"Write it to a file, and pass that with --passphrase-file or in the variable {PASSPHRASE_FILE}.",
        )
    return ask(name)
