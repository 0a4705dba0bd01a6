"""Output of the commands: tables, pairs, findings and JSON. rich is imported only to draw a table on a terminal."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from zoo.display.stdout import results_stream
from zoo.utils.text import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

_STATUS_COLOURS = {"ok": "green", "note": "blue", "warning": "yellow", "problem": "red"}
_STATUS_WIDTH, _ABOUT_WIDTH = 9, 16


def echo(text: object = "") -> None:
    """Prints a line of the command's results."""
    click.echo(text, file=results_stream())


def on_terminal() -> bool:
    """Returns whether stdout is a terminal, rather than a file or a pipe."""
    stream = results_stream()
    return stream is not None and bool(stream.isatty())


def passphrase_prompt(*, twice: bool = False) -> Callable[[str], str] | None:
    """Returns a function that asks for the passphrase of a named file, or None if stdin is not a terminal.

    Args:
        twice: Ask twice, for a new passphrase.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        return None
    return lambda name: str(click.prompt(f"Passphrase of {name}", hide_input=True, confirmation_prompt=twice, err=True))


def write_json(value: Any) -> None:
    """Prints a value as JSON; NaN and infinity, which JSON lacks, become null."""
    echo(format_json(value, indent=2))


def format_json(value: Any, *, indent: int | None = None) -> str:
    """Returns a value as JSON that any terminal can show: what stdout cannot encode or print is escaped.

    Names of files may hold control characters, and surrogates where they are not UTF-8.
    """
    from zoo.utils.files import replace_nonfinite

    text = json.dumps(replace_nonfinite(value), indent=indent, ensure_ascii=not _encodes_unicode(results_stream()))
    if text.replace("\n", "").isprintable():
        return text
    return "".join(c if c == "\n" or c.isprintable() else json.dumps(c)[1:-1] for c in text)


def _encodes_unicode(stream: Any) -> bool:
    return str(getattr(stream, "encoding", None)).lower().replace("_", "-").startswith("utf")


def write_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, right: Collection[int] = (), indent: int = 0
) -> None:
    """Prints a table: wrapped to the width of a terminal, or in plain aligned columns elsewhere.

    Args:
        header: Column titles.
        rows: Cells.
        right: Indices of right-aligned columns.
        indent: Number of spaces before each line.
    """
    header = [printable(title) for title in header]
    table = [[printable(cell) for cell in row] for row in rows]
    if on_terminal():
        _write_rich(header, table, right, indent)
        return
    widths = [max(map(len, column)) for column in zip(header, *table, strict=True)]
    for row in (header, *table):
        write_row(row, widths, right=right, indent=indent)


def write_row(cells: Sequence[str], widths: Sequence[int], *, right: Collection[int] = (), indent: int = 0) -> None:
    """Prints a row of a table whose columns have given widths; a longer cell moves those behind it.

    Args:
        cells: Cells. A row may be shorter than the table.
        widths: The widths of all columns, as `text_width` counts them.
        right: Indices of right-aligned columns.
        indent: Number of spaces before the row.
    """
    padded = []
    for number, (cell, width) in enumerate(zip(map(printable, cells), widths, strict=False)):
        space = " " * (width - text_width(cell))
        padded.append(space + cell if number in right else cell + space)
    echo((" " * indent + "  ".join(padded)).rstrip())


def text_width(text: str) -> int:
    """Returns how many columns a text takes on stdout: on a terminal, some characters take two."""
    text = printable(text)
    if text.isascii() or not on_terminal():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


class LineSink:
    """Prints lines of CSV as results. On a terminal, control characters of names are escaped."""

    def write(self, line: str, /) -> None:
        """Prints a line, which ends with a line break."""
        line = line.removesuffix("\n")
        echo(printable(line) if on_terminal() else line)


def write_pairs(pairs: Iterable[tuple[str, str]], *, indent: int = 0) -> None:
    """Prints aligned ``name  value`` lines and skips empty values. On a terminal, long values wrap between words."""
    import shutil
    import textwrap

    listed = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in listed), default=0)
    columns = max(shutil.get_terminal_size().columns, 40) if on_terminal() else 10_000
    for name, value in listed:
        start = " " * indent + name.ljust(width) + "  "
        lines = textwrap.wrap(printable(value), columns - len(start), break_long_words=False, break_on_hyphens=False)
        for number, line in enumerate(lines):
            echo((start if number == 0 else " " * len(start)) + line)


def write_heading(text: str) -> None:
    """Prints a line, in bold on a terminal."""
    echo(click.style(printable(text), bold=True))


def write_finding(status: str, about: str, text: str, advice: str = "") -> None:
    """Prints a finding: its coloured status, its subject, the text and, below it, the advice."""
    about = printable(about)
    start = click.style(status.ljust(_STATUS_WIDTH), fg=_STATUS_COLOURS[status]) + about.ljust(_ABOUT_WIDTH)
    lines = _wrap_finding(text)
    lines += [f"-> {line}" if not i else f"   {line}" for i, line in enumerate(_wrap_finding(advice, more=3))]
    if len(about) >= _ABOUT_WIDTH:
        echo(start)
    else:
        echo(start + lines.pop(0))
    for line in lines:
        write_detail(line)


def write_detail(line: str) -> None:
    """Prints a line below the text of a finding."""
    echo(" " * (_STATUS_WIDTH + _ABOUT_WIDTH) + line)


def write_message(text: str) -> None:
    """Prints a line to stderr that is not a result."""
    # Not err=True: where stderr is ASCII, click would write to the stream behind it.
    click.echo(text, file=sys.stderr)


def write_error(message: str, hint: str = "") -> None:
    """Prints an error to stderr, and on a second line what to do about it."""
    write_message(f"{click.style('error:', fg='red', bold=True)} {format_message(message)}")
    if hint:
        write_message(format_message(hint))


def write_warning(text: str) -> None:
    """Prints a warning to stderr, in one line."""
    write_message(f"{click.style('warning:', fg='yellow', bold=True)} {one_line(text)}")


def format_message(text: str) -> str:
    """Returns a message that is safe on a terminal. Further lines are indented: none can pose as another message."""
    return "\n  ".join(printable(line.strip()) for line in text.split("\n"))


def _wrap_finding(text: str, *, more: int = 0) -> list[str]:
    import shutil
    import textwrap

    columns = max(shutil.get_terminal_size().columns, 60) if on_terminal() else 10_000
    width = columns - _STATUS_WIDTH - _ABOUT_WIDTH - more
    return textwrap.wrap(printable(text), width, break_long_words=False, break_on_hyphens=False)


def _write_rich(header: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int], indent: int) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, title in enumerate(header):
        numeric = number in right
        # Names wrap and are never truncated, so that they can be copied into the next command.
        table.add_column(Text(title), justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console(file=results_stream(), highlight=False).print(Padding(table, (0, 0, 0, indent), expand=False))
