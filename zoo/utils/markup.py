"""HTML for the outputs of notebooks: escaped, small, and readable on light and dark pages.

It has neither scripts nor outside resources. Styles are inline, because an output may not change the rest of a page.
Text has the colour of the notebook; grey, blue and orange stand out from both backgrounds.
"""

from __future__ import annotations

import html
import sys
from typing import TYPE_CHECKING

from zoo.utils.text import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

_LINE = "1px solid rgba(128,128,128,.35)"
_BLUE = "#4c8dff"
_CELL = "padding:2px 14px 2px 0;border:none;background:none;color:inherit;vertical-align:top"


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def in_notebook() -> bool:
    """Returns whether this process is the kernel of a notebook; IPython in a terminal is none."""
    return getattr(_ipython_shell(), "kernel", None) is not None


def in_ipython() -> bool:
    """Returns whether code runs in IPython: in a notebook or in a terminal."""
    return _ipython_shell() is not None


def escape(text: object) -> Markup:
    """Returns a text as HTML, with its control characters visible."""
    return text if isinstance(text, Markup) else Markup(html.escape(printable(str(text))))


def block(*parts: str) -> Markup:
    """Returns parts as one output."""
    inner = "".join(escape(part) for part in parts)
    return Markup(f'<div style="line-height:1.45;text-align:left">{inner}</div>')


def heading(text: str, more: str = "") -> Markup:
    """Returns a line in bold, with more text behind it."""
    return Markup(f'<div style="margin:2px 0"><b>{escape(text)}</b> {escape(more)}</div>')


def line(text: str, *, warning: bool = False) -> Markup:
    """Returns a line of text; a warning stands beside a bar."""
    style = f"margin:2px 0;{'border-left:4px solid #d9822b;padding-left:8px' if warning else ''}"
    return Markup(f'<div style="{style}">{escape(text)}</div>')


def pairs(rows: Iterable[tuple[str, object]]) -> Markup:
    """Returns names and values as a table without lines; empty values are skipped."""
    cells = "".join(
        f'<tr style="background:none"><td style="{_CELL};text-align:left;opacity:.7;white-space:nowrap">{escape(name)}'
        f'</td><td style="{_CELL};text-align:left">{escape(value)}</td></tr>'
        for name, value in rows
        if value not in ("", None)
    )
    return Markup(f'<table style="border-collapse:collapse;border:none;margin:2px 0"><tbody>{cells}</tbody></table>')


def table(header: Sequence[str], rows: Iterable[Sequence[object]], *, right: Collection[int] = ()) -> Markup:
    """Returns a table.

    Args:
        header: Column titles.
        rows: Cells: text, or `Markup`.
        right: Indices of right-aligned columns.
    """

    def row(tag: str, cells: Sequence[object], line: str) -> str:
        aligned = ("right" if number in right else "left" for number in range(len(cells)))
        inner = "".join(
            f'<{tag} style="{_CELL};text-align:{side}">{escape(cell)}</{tag}>'
            for side, cell in zip(aligned, cells, strict=True)
        )
        return f'<tr style="background:none;border-bottom:{line}">{inner}</tr>'

    body = "".join(row("td", cells, "none") for cells in rows)
    return Markup(
        '<table style="border-collapse:collapse;border:none;margin:4px 0;font-variant-numeric:tabular-nums">'
        f"<thead>{row('th', header, _LINE)}</thead><tbody>{body}</tbody></table>"
    )


def bar(share: float, *, width: str = "12em") -> Markup:
    """Returns a horizontal bar.

    Args:
        share: How much of it is filled, 0 to 1.
        width: Its width in CSS.
    """
    percent = 100 * min(max(share, 0.0), 1.0)
    return Markup(
        f'<div style="width:{width};height:.7em;margin-top:.35em;border-radius:3px;background:rgba(128,128,128,.25)">'
        f'<div style="width:{percent:.1f}%;height:100%;border-radius:3px;background:{_BLUE}"></div></div>'
    )


def image(source: str, *, title: str) -> Markup:
    """Returns a picture with a tooltip.

    Args:
        source: A ``data:`` address.
        title: The tooltip, which is also its text for whoever cannot see it.
    """
    label = escape(title).replace('"', "&quot;")
    return Markup(
        f'<img src="{source}" alt="{label}" title="{label}" '
        'style="height:72px;width:auto;margin:0 4px 4px 0;display:inline-block;border-radius:3px">'
    )


def _ipython_shell() -> object | None:
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()
