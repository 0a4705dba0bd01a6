"""``zoo sign`` and ``zoo verify``: prove that a run or a file is what its maker signed."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli.commands.options import json_option, quiet_option, runs_option
from zoo.cli.completion import complete_runs
from zoo.display import console
from zoo.plugins.hubs import is_on_hub
from zoo.runs.open import locate_path
from zoo.utils.text import printable
from zoo_export.security.signing import create_key, sign
from zoo_export.verification import VerificationResult, verify


@click.command(name="sign")
@click.argument("path", metavar="RUN-OR-FILE", required=False, shell_complete=complete_runs)
@click.option("--key", type=click.Path(path_type=Path), metavar="FILE", help="The private key: PEM, P-256 or larger.")
@click.option(
    "--new-key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Create a key pair, FILE and FILE.pub, and sign with it.",
)
@runs_option
@quiet_option
def sign_command(path: str | None, key: Path | None, new_key: Path | None, runs: Path, quiet: bool) -> None:
    """Sign all files of a run, or one file; the signature is written beside them.

    'zoo verify RUN-OR-FILE --key FILE.pub' verifies it. Requires the extra finetune-zoo-runtime[sign].
    """
    if (key is None) == (new_key is None):
        raise click.UsageError("Pass the key to sign with: either --key FILE, or --new-key FILE to create one.")
    if path is None and new_key is None:
        raise click.UsageError("Pass a run or a file to sign.")
    if path is not None and is_on_hub(path):
        raise click.UsageError(f"{path} is on a hub: only files of this machine can be signed.")
    located = locate_path(path, runs=runs) if path is not None else None
    if new_key is not None:
        public = create_key(new_key)
        if not quiet:
            console.write_message(f"public key: {public}")
    if located is not None and (private := key or new_key) is not None:
        console.echo(sign(located, key=private, passphrase=console.passphrase_prompt()))


@click.command(name="verify")
@click.argument("path", metavar="RUN-OR-FILE", shell_complete=complete_runs)
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    metavar="FILE.pub",
    help="Verify the signature, too, with this public key.",
)
@runs_option
@quiet_option
@json_option
@click.pass_context
def verify_command(ctx: click.Context, path: str, key: Path | None, runs: Path, quiet: bool, as_json: bool) -> None:
    """Verify that a run, a tag's run or a file is unchanged since it was made, tagged or signed.

    Lists every changed, missing and additional file; the exit code is then 1.
    """
    results = verify(path, runs=runs, key=key)
    if as_json:
        console.write_json([result.to_dict() for result in results])
    else:
        _write([result for result in results if not (quiet and result.ok)])
    if not all(result.ok for result in results):
        ctx.exit(1)


def _write(results: list[VerificationResult]) -> None:
    for result in results:
        mark = click.style("ok    ", fg="green") if result.ok else click.style("failed", fg="red", bold=True)
        console.echo(f"{mark}  {result.about}: {printable(result.text)}")
        for file, state in result.files:
            console.echo(f"        {state}: {printable(file)}")
