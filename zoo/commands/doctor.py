"""``zoo doctor``: checks the set-up and says what to do about each finding."""

from __future__ import annotations

import dataclasses
import shutil
import textwrap
from collections import Counter
from typing import TYPE_CHECKING

import click

from zoo.commands._options import json_option
from zoo.doctor import examine
from zoo.terminal import console

if TYPE_CHECKING:
    from zoo.specs import Finding

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}
_STATUS, _ABOUT = 9, 16


@click.command(name="doctor")
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Check the set-up, and say what to do about each finding.

    Everything is really tried: torch and the GPU multiply, ONNX Runtime runs a model, servers are asked. The exit code
    is 1 if there is a problem.
    """
    counts: Counter[str] = Counter()
    told = []
    for check, finding in examine():
        counts[finding.status] += 1
        told.append({"check": check, **dataclasses.asdict(finding)})
        if not as_json:
            _write(finding)
    if as_json:
        console.write_json(told)
    else:
        click.echo(
            f"\n{counts['ok']} ok, {_counted(counts['warning'], 'warning')}, {_counted(counts['problem'], 'problem')}"
        )
    ctx.exit(1 if counts["problem"] else 0)


def _write(finding: Finding) -> None:
    about = console.printable(finding.about)
    start = click.style(finding.status.ljust(_STATUS), fg=_COLOURS[finding.status]) + about.ljust(_ABOUT)
    indent = " " * (_STATUS + _ABOUT)
    lines = _folded(finding.text, len(indent)) + [
        f"-> {line}" if not i else f"   {line}" for i, line in enumerate(_folded(finding.advice, len(indent) + 3))
    ]
    if len(about) >= _ABOUT:
        click.echo(start)
    else:
        click.echo(start + lines.pop(0))
    for line in lines:
        click.echo(indent + line)


def _folded(text: str, indent: int) -> list[str]:
    columns = max(shutil.get_terminal_size().columns, 60) if console.on_terminal() else 10_000
    return textwrap.wrap(console.printable(text), columns - indent, break_long_words=False, break_on_hyphens=False)


def _counted(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
