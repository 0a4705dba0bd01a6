"""CSV files: cells that no spreadsheet runs, and rows that are kept as they are written."""

from __future__ import annotations

import csv
import errno
import io
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol

from zoo.errors import RunError
from zoo.utils.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

# Excel takes the full-width forms for the ASCII characters.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


class TextSink(Protocol):
    """Whatever takes text."""

    def write(self, text: str, /) -> object:
        """Writes text."""


class CsvWriter:
    """Writes rows of CSV, each in one call of `sink.write`. Cells that a spreadsheet would run are quoted.

    Args:
        sink: A text stream, for example.
    """

    def __init__(self, sink: TextSink) -> None:
        self._sink = sink

    def write_row(self, cells: Iterable[str]) -> None:
        """Writes a row."""
        row = io.StringIO()
        csv.writer(row).writerow(map(quote_formula, cells))  # with any other line terminator, it does not quote "\r"
        self._sink.write(row.getvalue().removesuffix("\r\n") + "\n")


def quote_formula(cell: str) -> str:
    """Returns a cell that no spreadsheet evaluates: names of files and classes may be an attacker's.

    A cell that could be a formula gets an apostrophe in front. `unquote_formula` removes it.
    Source: https://owasp.org/www-community/attacks/CSV_Injection
    """
    return f"'{cell}" if _is_formula(cell) else cell


def unquote_formula(cell: str) -> str:
    """Returns the text that `quote_formula` was given."""
    return cell[1:] if cell.startswith("'") and _is_formula(cell) else cell


def _is_formula(cell: str) -> bool:
    # With apostrophes in front, too: otherwise the name "'=1" and the quoted name "=1" would be the same cell.
    return cell.lstrip("' ").startswith(_FORMULA_STARTS)


class RowFile:
    """A file of whole rows: each is written through at once, and one that the disk has no room for is removed again.

    Args:
        file: An unbuffered file.
        name: Its name in errors.

    Attributes:
        rows: The number of rows written.
    """

    def __init__(self, file: BinaryIO, *, name: str) -> None:
        self.rows = 0
        self._file, self._name, self._size = file, name, 0

    def write(self, row: str, /) -> None:
        """Writes a row. What UTF-8 cannot encode, as in names that are not text, is written as an escape.

        Raises:
            RunError: It cannot be written.
        """
        content = row.encode("utf-8", "backslashreplace")
        try:
            if self._file.write(content) < len(content):
                self._file.truncate(self._size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise RunError(f"Cannot write {self._name}: {error.strerror}.", hint="Choose another file.") from error
        self._size += len(content)
        self.rows += 1


@contextmanager
def open_rows(target: Path) -> Iterator[RowFile]:
    """Opens a CSV file for rows. They are written aside, and become the file when the block ends.

    If an error or a signal ends the block, the rows written so far become the file, unless there is none besides the
    header. A pipe or a device is written in place.

    Raises:
        RunError: The file cannot be written.
    """
    if target.exists():
        with _open_unbuffered(target, "ab") as file:  # what may not be written is not replaced either
            if not target.is_file() or target.parts[1:2] in (("dev",), ("proc",)):  # such as /dev/stderr
                yield RowFile(file, name=str(target))
                return
    stopped: BaseException | None = None
    place = target.resolve() if target.is_symlink() else target
    with atomic_write(place) as aside, _open_unbuffered(aside, "wb") as file:
        rows = RowFile(file, name=str(target))
        try:
            yield rows
        except BaseException as error:
            if rows.rows < 2:
                raise
            stopped = error
    if stopped is not None:
        raise stopped


@contextmanager
def _open_unbuffered(path: Path, mode: Literal["wb", "ab"]) -> Iterator[BinaryIO]:
    try:
        file = path.open(mode, buffering=0)
    except OSError as error:
        raise RunError(f"Cannot write {path}: {error.strerror}.", hint="Choose another file.") from error
    with file:
        yield file
