"""Where commands take passphrases from: a file, the environment, or whoever sits at the terminal."""

from __future__ import annotations

import os
from pathlib import Path

import click

from zoo.cli.terminal import console
from zoo.errors import IntegrityError
from zoo_export.secrecy import PASSPHRASE_FILE, read_passphrase

passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help=f"Take the passphrase from the first line of FILE.  [default: ${PASSPHRASE_FILE}, else you are asked]",
)


def new_passphrase(file: Path | None, what: str) -> str:
    """Returns the passphrase in a file, in that of the environment, or typed twice.

    Raises:
        IntegrityError: It is empty, or nowhere to be had.
    """
    named = file or (Path(os.environ[PASSPHRASE_FILE]) if os.environ.get(PASSPHRASE_FILE) else None)
    if named is not None:
        return read_passphrase(named).passphrase or ""
    ask = console.passphrase_prompt(twice=True)
    if ask is None:
        raise IntegrityError(
            f"There is no passphrase for {what}, and nobody to ask.",
            hint=f"Write it into a file, and name that with --passphrase-file or in the variable {PASSPHRASE_FILE}.",
        )
    return ask(what)
