"""``zoo list``: lists backbones, heads, datasets and runs."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from zoo.cli.commands.options import json_option, runs_option
from zoo.cli.listing import LISTED, Entry, find_runs, list_entries, write_runs
from zoo.cli.terminal import console
from zoo.plugins.registry import load_registry
from zoo.utils.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PATIENCE = 1.0  # seconds


@click.command(name="list")
@click.argument("word", default="")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(LISTED), help="List these only; repeatable.")
@click.option("--all", "expand", is_flag=True, help="List families name by name, too.")
@runs_option
@json_option
def command(word: str, kinds: tuple[str, ...], expand: bool, runs: Path, as_json: bool) -> None:
    """List backbones, heads, datasets and runs; with WORD, those that have it in their name or summary."""
    chosen = kinds or LISTED
    registry = load_registry()
    for plugin in registry.failures:
        click.echo(f"warning: the plugin {plugin.key} failed; 'zoo plugins' tells why.", err=True)
    with _patience():
        entries, failures = list_entries(registry, word=word, of=chosen, expand=expand)
    for failure in failures:
        click.echo(f"warning: {printable(failure.message)}", err=True)
    rows = find_runs(runs, word) if "runs" in chosen else []
    if as_json:
        groups = {kind: [e.to_dict() for e in entries if e.kind == kind] for kind in chosen if kind != "runs"}
        console.write_json(groups | ({"runs": [row.to_dict() for row in rows]} if "runs" in chosen else {}))
        return
    for kind in chosen:
        if kind != "runs":
            _write(kind, [entry for entry in entries if entry.kind == kind])
    if rows:
        console.write_heading(f"Runs below {runs}/")
        write_runs(rows, indent=2)
    if not entries and not rows:
        click.echo(f"Nothing has '{word}' in its name. 'zoo list' lists all." if word else "Nothing is offered.")


@contextmanager
def _patience() -> Iterator[None]:
    """Tells on stderr why nothing is seen yet, if that is still so after a while."""
    told = "Asking the libraries for their names; the first time this takes some seconds ..."
    timer = threading.Timer(_PATIENCE, click.echo, args=[told], kwargs={"err": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _write(kind: str, entries: list[Entry]) -> None:
    if not entries:
        return
    singles = [entry for entry in entries if not entry.family]
    console.write_heading(f"{kind.capitalize()} ({len(singles)})")
    origins = [entry.qualified.partition("/")[0] for entry in singles]
    rows = [(entry.name, origin, entry.summary) for entry, origin in zip(singles, origins, strict=True)]
    rows += [
        (e.name, e.qualified.partition("/")[0], f"{e.summary} ('zoo list WORD' searches)") for e in entries if e.family
    ]
    console.write_table(("name", "plugin", ""), rows, indent=2)
    click.echo()
