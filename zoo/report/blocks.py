"""What sections of a report consist of: text, facts, tables, pictures and photos. The template draws each kind."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from zoo.utils.files import read_regular_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from zoo.data.check.report import Level

_MAX_PICTURE = 1 << 25  # bytes; those that the zoo draws have a hundredth


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph; `tone` is ``""``, ``"quiet"`` or ``"fine"``."""

    kind: ClassVar = "text"
    text: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """A finding."""

    kind: ClassVar = "message"
    level: Level
    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Names with values."""

    kind: ClassVar = "facts"
    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        header: Titles of the columns.
        rows: Cells.
        right: Columns that are right-aligned.
        more: A line below it, or empty.
    """

    kind: ClassVar = "table"
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[int, ...] = ()
    more: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing, as PNG in base64."""

    kind: ClassVar = "picture"
    png: str
    alt: str


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo, as JPEG in base64, which is empty if it cannot be read."""

    jpeg: str
    title: str
    detail: str
    name: str


@dataclass(frozen=True, slots=True)
class Photos:
    """Photos side by side."""

    kind: ClassVar = "photos"
    photos: tuple[Photo, ...]
    more: str = ""


Block = Text | Message | Facts | Table | Picture | Photos


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a report.

    Attributes:
        key: Its place in the page.
        title: Its title.
        blocks: Its content.
        missing: What is not measured, and how to measure it; empty if nothing is missing.
    """

    key: str
    title: str
    blocks: tuple[Block, ...] = ()
    missing: str = ""


def make_facts(rows: Iterable[tuple[str, Any]]) -> Facts:
    """Returns names with values as text, without those that are None or empty."""
    return Facts(tuple((name, str(value)) for name, value in rows if value not in (None, "")))


def make_table(
    header: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Iterable[int] = (), most: int | None = None
) -> Table:
    """Returns a table of up to `most` rows, with a line on those that are left out."""
    cells = [tuple(map(str, row)) for row in rows]
    shown = cells[:most]
    more = f"{len(cells) - len(shown):,} more" if len(shown) < len(cells) else ""
    return Table(tuple(header), tuple(shown), tuple(right), more)


def load_picture(path: Path, alt: str) -> tuple[Picture, ...]:
    """Returns a picture of a folder; nothing if there is none, or none that can be read."""
    try:
        content = read_regular_file(path, max_bytes=_MAX_PICTURE)
    except OSError:
        return ()
    return (Picture(base64.b64encode(content).decode("ascii"), alt),) if content[:4] == b"\x89PNG" else ()
