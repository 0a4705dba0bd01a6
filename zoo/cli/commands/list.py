"""``zoo list``: lists what plugins offer, and runs."""

from __future__ import annotations

import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import click

from zoo.cli.commands.options import json_option, quiet_option, runs_option
from zoo.cli.completion import complete_words
from zoo.cli.kind_choice import KindChoice
from zoo.cli.listing import ALL_LISTED, LISTED, Entry, find_runs, list_entries, write_runs
from zoo.display import console
from zoo.plugins.kinds import KINDS
from zoo.plugins.registry import load_registry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from zoo.plugins.registry import Registry

_SECONDS_UNTIL_NOTICE = 1.0


@click.command(name="list")
@click.argument("word", default="", shell_complete=complete_words)
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=KindChoice(ALL_LISTED),
    metavar="KIND",
    help=f"List only this kind; may be repeated: {', '.join(ALL_LISTED)}.",
)
@click.option("--all", "expand", is_flag=True, help="List every member of a family.")
@runs_option
@quiet_option
@json_option
def command(word: str, kinds: tuple[str, ...], expand: bool, runs: Path, quiet: bool, as_json: bool) -> None:
    """List backbones, heads, datasets and runs. With WORD, everything that has WORD in its name or summary.

    WORD may also be the name of a kind, as for --kind: 'zoo list losses'.

    The column "local" marks backbones with pretrained weights on this machine, and datasets that need no download.
    """
    if word in ALL_LISTED and not kinds:
        word, kinds = "", (word,)
    selected = kinds or (ALL_LISTED if word else LISTED)
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
        _exit_if_empty(entries, rows)
        return
    for kind in selected:
        if kind != "runs":
            _write_entries(kind, [entry for entry in entries if entry.kind == kind])
    if rows:
        console.write_heading(f"Runs in {runs}/")
        write_runs(rows, indent=2)
    if not entries and not rows and not quiet:
        console.echo(f"Nothing matches '{word}'." if word else "There is nothing to list.")
    elif not word and not kinds and not quiet:
        _write_other_kinds(registry)
    _exit_if_empty(entries, rows)


def _exit_if_empty(*found: Sequence[object]) -> None:
    if not any(found):
        click.get_current_context().exit(1)


def _write_other_kinds(registry: Registry) -> None:
    """Says what else plugins offer, and how to list it."""
    counts = {kind.word: len(registry.offers(kind)) for kind in KINDS if not kind.listed}
    others = ", ".join(f"{word} ({count})" for word, count in counts.items() if count)
    if others:
        console.echo(f"\nAlso, as WORD: {others}.")


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
    console.write_heading(f"{kind.replace('-', ' ').capitalize()} ({len(members)})")
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
