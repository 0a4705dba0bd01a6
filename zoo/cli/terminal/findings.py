"""How the findings of a check look on the terminal: what is wrong in one column, and below it what to do."""

from __future__ import annotations

import shutil
import textwrap

import click

from zoo.cli.terminal import console
from zoo.utils.text import printable

_COLOURS = {"ok": "green", "note": "blue", "warning": "yellow", "problem": "red"}
_STATUS, _ABOUT = 9, 16


def write_finding(status: str, about: str, text: str, advice: str = "") -> None:
    """Prints a finding: its status in colour, what it is about, what was found, and what to do about it."""
    about = printable(about)
    start = click.style(status.ljust(_STATUS), fg=_COLOURS[status]) + about.ljust(_ABOUT)
    lines = _folded(text) + [f"-> {line}" if not i else f"   {line}" for i, line in enumerate(_folded(advice, more=3))]
    if len(about) >= _ABOUT:
        click.echo(start)
    else:
        click.echo(start + lines.pop(0))
    for line in lines:
        write_below(line)


def write_below(line: str) -> None:
    """Prints a line below the text of a finding."""
    click.echo(" " * (_STATUS + _ABOUT) + line)


def how_many(number: int, what: str) -> str:
    """Returns ``no problems``, ``1 problem`` or ``2 problems``."""
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _folded(text: str, *, more: int = 0) -> list[str]:
    columns = max(shutil.get_terminal_size().columns, 60) if console.on_terminal() else 10_000
    width = columns - _STATUS - _ABOUT - more
    return textwrap.wrap(printable(text), width, break_long_words=False, break_on_hyphens=False)
