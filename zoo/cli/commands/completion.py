"""``zoo completion``: the script with which a shell completes commands, options and names."""

from __future__ import annotations

import os
from pathlib import Path

import click

from zoo.cli.completion import SHELLS, script
from zoo.display import console
from zoo.errors import ConfigError


@click.command(name="completion", epilog='\b\nFor example, in ~/.bashrc:\n  eval "$(zoo completion bash)"')
@click.argument("shell", type=click.Choice(SHELLS))
@click.option("--install", is_flag=True, help="Add the script to the configuration of the shell.")
@click.pass_context
def command(ctx: click.Context, shell: str, install: bool) -> None:
    """Print the script with which SHELL completes commands, options, and the names of runs, backbones, datasets ..."""
    if not install:
        console.echo(script(ctx.find_root().command, shell).strip("\n"))
        return
    path = _configuration(shell)
    text = script(ctx.find_root().command, shell) if shell == "fish" else f'eval "$(zoo completion {shell})"\n'
    try:
        added = _write(path, text, whole=shell == "fish")
    except OSError as error:
        raise ConfigError(f"Cannot write {path}: {error.strerror}.") from error
    console.echo(f"{path} {'has' if added else 'already had'} the completion of zoo; it works in new shells.")


def _configuration(shell: str) -> Path:
    if shell == "fish":
        return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "fish" / "completions" / "zoo.fish"
    if shell == "zsh":
        return Path(os.environ.get("ZDOTDIR") or Path.home()) / ".zshrc"
    return Path.home() / ".bashrc"


def _write(path: Path, text: str, *, whole: bool) -> bool:
    """Writes a file, or adds a line to one, and returns whether that was necessary."""
    present = path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else ""
    if text in present:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    separator = "" if not present or present.endswith("\n") else "\n"
    with path.open("w" if whole else "a", encoding="utf-8") as file:
        file.write(text if whole else separator + text)
    return True
