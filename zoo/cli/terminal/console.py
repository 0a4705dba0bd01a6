"""How numbers and tables look on the terminal. rich is imported only when a table is drawn on one."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Any

import click

from zoo.utils.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

NOTHING = "-"  # where there is no number


def on_terminal() -> bool:
    """Returns whether a person is looking at the output, rather than a file or a program."""
    return sys.stdout.isatty()


def passphrase_prompt(*, twice: bool = False) -> Callable[[str], str] | None:
    """Returns what asks for the passphrase of a thing, or None where nobody sits at the terminal to be asked."""
    if not sys.stdin.isatty():
        return None
    return lambda what: str(click.prompt(f"Passphrase of {what}", hide_input=True, confirmation_prompt=twice, err=True))


def percent(share: float | None, digits: int = 1) -> str:
    """Returns ``93.1 %`` for 0.931, and ``-`` for None and NaN."""
    return NOTHING if share is None or math.isnan(share) else f"{100 * share:.{digits}f} %"


def accuracy(share: float | None, interval: Sequence[float] | None = None) -> str:
    """Returns ``93.1 % ± 1.8``: the accuracy and half the width of its interval, in points."""
    if share is None or interval is None:
        return percent(share)
    low, high = interval
    return f"{percent(share)} ± {50 * (high - low):.1f}"


def duration(seconds: float | None) -> str:
    """Returns ``42 s``, ``3 min 12 s`` or ``2 h 5 min``; ``-`` for None and what is not finite."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def count(number: int) -> str:
    """Returns ``11.2 M``, ``4.1 k`` or ``512``."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size * 0.99995:
            return f"{number / size:.1f} {unit}"
    return str(number)


def word(value: object) -> str:
    """Returns an option's value as it is typed: ``yes``, ``none``, ``0.5``."""
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def write_json(value: Any) -> None:
    """Prints a value as JSON; NaN and infinity, which JSON lacks, become null."""
    click.echo(json_text(value, indent=2))


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Returns a value as JSON that does nothing to a terminal: what is not printable is escaped, which JSON allows.

    Among that are halves of surrogate pairs, as the name of a file that is no UTF-8 has them.
    """
    text = json.dumps(finite(value), indent=indent, ensure_ascii=False)
    if text.replace("\n", "").isprintable():
        return text
    return "".join(c if c == "\n" or c.isprintable() else json.dumps(c)[1:-1] for c in text)


def finite(value: Any) -> Any:
    """Returns plain values with None in place of NaN and infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, (list, tuple)) else value


def write_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, right: Collection[int] = (), indent: int = 0
) -> None:
    """Prints a table: wrapped to the width of a terminal, or in plain aligned columns to anything else.

    Args:
        header: Titles of the columns.
        rows: Cells.
        right: Numbers of the columns that are aligned at their right, from 0.
        indent: Spaces before every line.
    """
    header = [printable(title) for title in header]
    table = [[printable(cell) for cell in row] for row in rows]
    if on_terminal():
        _write_rich(header, table, right, indent)
        return
    widths = [max(map(len, column)) for column in zip(header, *table, strict=True)]
    for row in (header, *table):
        cells = (
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        click.echo((" " * indent + "  ".join(cells)).rstrip())


def write_pairs(pairs: Iterable[tuple[str, str]], *, indent: int = 0) -> None:
    """Prints ``name  value`` lines, the values below each other; long values are folded between words."""
    import shutil
    import textwrap

    listed = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in listed), default=0)
    columns = max(shutil.get_terminal_size().columns, 40) if on_terminal() else 10_000
    for name, value in listed:
        start = " " * indent + name.ljust(width) + "  "
        lines = textwrap.wrap(printable(value), columns - len(start), break_long_words=False, break_on_hyphens=False)
        for number, line in enumerate(lines):
            click.echo((start if number == 0 else " " * len(start)) + line)


def heading(text: str) -> None:
    """Prints a line that stands out on a terminal."""
    click.secho(printable(text), bold=True)


def message(text: str) -> str:
    """Returns a message fit for a terminal; further lines of it are indented: none is taken for another message."""
    return "\n  ".join(printable(line.strip()) for line in text.split("\n"))


def _write_rich(header: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int], indent: int) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, title in enumerate(header):
        numeric = number in right
        # Names are folded, never cut: what is shown can be copied into the next command.
        table.add_column(Text(title), justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console(highlight=False).print(Padding(table, (0, 0, 0, indent), expand=False))
