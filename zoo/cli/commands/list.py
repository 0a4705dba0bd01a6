"""``zoo list``: lists backbones, heads, datasets and runs."""

from __future__ import annotations

import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import click

from zoo.cli.commands.options import json_option, quiet_option, runs_option
from zoo.cli.listing import LISTED, Entry, find_runs, list_entries, write_runs
from zoo.cli.terminal import console
from zoo.plugins.registry import load_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SECONDS_UNTIL_NOTICE = 1.0


@click.command(name="list")
@click.argument("word", default="")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(LISTED), help="List only this kind; may be repeated.")
@click.option("--all", "expand", is_flag=True, help="List every member of a family.")
@runs_option
@quiet_option
@json_option
def command(word: str, kinds: tuple[str, ...], expand: bool, runs: Path, quiet: bool, as_json: bool) -> None:
    """List backbones, heads, datasets and runs. With WORD, only those with WORD in their name or summary.

    The column "local" marks backbones with pretrained weights on this machine, and datasets that need no download.
    """
    selected = kinds or LISTED
    registry = load_registry()
    for plugin in () if quiet else registry.failures:
        console.write_warning(f"The plugin {plugin.key} failed; 'zoo plugins' shows why.")
    with nullcontext() if quiet else _delay_notice():
        entries, failures = list_entries(registry, word=word, include=selected, expand=expand)
    for failure in () if quiet else failures:
        console.write_warning(failure.message)
    rows = find_runs(runs, word, quiet=quiet) if "runs" in selected else []
    if as_json:
        groups = {kind: [e.to_dict() for e in entries if e.kind == kind] for kind in selected if kind != "runs"}
        console.write_json(groups | ({"runs": [row.to_dict() for row in rows]} if "runs" in selected else {}))
        return
    for kind in selected:
        if kind != "runs":
            _write_entries(kind, [entry for entry in entries if entry.kind == kind])
    if rows:
        console.write_heading(f"Runs in {runs}/")
        write_runs(rows, indent=2)
    if not entries and not rows and not quiet:
        console.echo(f"Nothing matches '{word}'. 'zoo list' lists everything." if word else "There is nothing to list.")


@contextmanager
def _delay_notice() -> Iterator[None]:
    """Explains the wait on stderr if there is still no output after a second."""
    notice = "Importing libraries to list their names; the first time takes a few seconds ..."
    timer = threading.Timer(_SECONDS_UNTIL_NOTICE, click.echo, args=[notice], kwargs={"err": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _write_entries(kind: str, entries: list[Entry]) -> None:
    if not entries:
        return
    members = [entry for entry in entries if not entry.family]
    console.write_heading(f"{kind.capitalize()} ({len(members)})")
    families = [entry for entry in entries if entry.family]
    rows = [[entry.name, _plugin(entry), "yes" if entry.local else "", entry.summary] for entry in members]
    rows += [[entry.name, _plugin(entry), "", f"{entry.summary} ('zoo list WORD' searches them)"] for entry in families]
    header = ["name", "plugin", "local", "summary"]
    if all(entry.local is None for entry in entries):
        header, rows = [*header[:2], header[3]], [[*row[:2], row[3]] for row in rows]
    console.write_table(header, rows, indent=2)
    console.echo()


def _plugin(entry: Entry) -> str:
    return entry.qualified.partition("/")[0]
