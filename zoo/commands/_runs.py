"""The table of runs that two commands print."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from zoo.errors import RunError
from zoo.listing import matching_runs
from zoo.run import list_runs
from zoo.tags import tags_by_run
from zoo.terminal import console

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zoo.listing import RunRow


def find_runs(runs: Path, word: str) -> list[RunRow]:
    """Returns the rows of the runs that have a word; where the tags cannot be read, it says so on stderr."""
    try:
        tags = tags_by_run(runs)
    except RunError as error:  # the runs can be listed all the same
        click.echo(f"warning: {console.printable(error.message)}", err=True)
        tags = {}
    return matching_runs(list_runs(runs), word, tags=tags)


def write_runs(rows: Sequence[RunRow], *, indent: int = 0) -> None:
    """Prints a table of runs; of an unfinished one it tells the state in place of the accuracy.

    There is a column of tags where a run has one.
    """
    table = [
        [row.name, row.backbone, row.head, row.data, _accuracy(row), console.duration(row.seconds), ", ".join(row.tags)]
        for row in rows
    ]
    header = ["run", "backbone", "head", "data", "accuracy", "time", "tags"]
    if not any(row.tags for row in rows):
        header, table = header[:-1], [cells[:-1] for cells in table]
    console.write_table(header, table, right=(5,), indent=indent)


def _accuracy(row: RunRow) -> str:
    if row.status != "finished":
        return row.status
    return console.accuracy(row.accuracy, row.interval) + (" (validation)" if row.part == "val" else "")
