"""The table of runs that two commands print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.terminal import console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.listing import RunRow


def write_runs(rows: Sequence[RunRow], *, indent: int = 0) -> None:
    """Prints a table of runs; of an unfinished one it tells the state in place of the accuracy."""
    table = [
        (
            row.name,
            row.backbone,
            row.head,
            row.data,
            _accuracy(row),
            console.duration(row.seconds),
        )
        for row in rows
    ]
    console.write_table(("run", "backbone", "head", "data", "accuracy", "time"), table, right=(5,), indent=indent)


def _accuracy(row: RunRow) -> str:
    if row.status != "finished":
        return row.status
    return console.accuracy(row.accuracy, row.interval) + (" (validation)" if row.part == "val" else "")
