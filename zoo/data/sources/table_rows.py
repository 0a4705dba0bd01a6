"""The rows of a CSV file of photos, each with its line number."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from zoo.errors import DataError
from zoo.utils.files import LFS_HINT, LFS_POINTER, read_regular_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

TABLE_FORM = (
    "Each line is path,label or path,label,split. Paths are relative to the CSV file; the split is train, val or test."
)
_MAX_CELLS = 50_000_000  # ten million photos with a few columns
_MAX_VALUES = 100  # different values of a column; one with more holds no splits
# How files of other kinds begin.
_OTHER_KINDS = {
    b"PK": "a spreadsheet or an archive, not a CSV file",
    b"\xd0\xcf\x11\xe0": "a spreadsheet, not a CSV file",
    b"PAR1": "a Parquet file, not a CSV file",
    b"\xff\xfe": "UTF-16 text, not UTF-8",
    b"\xfe\xff": "UTF-16 text, not UTF-8",
}
Row = tuple[int, list[str]]  # the line number and the cells


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a table, read again in each pass: all rows together may take more memory than there is."""

    path: Path
    start: int = 0

    def __iter__(self) -> Iterator[Row]:
        return islice(read_rows(self.path), self.start, None)


def read_rows(path: Path, *, hint: str = TABLE_FORM) -> Iterator[Row]:
    """Yields the line number and the cells of each row of a CSV file that is not blank.

    Args:
        path: The file.
        hint: What the rows consist of, for messages.

    Raises:
        DataError: The file cannot be read, or is no CSV file in UTF-8.
    """
    content = b""
    try:
        content = read_regular_file(path)
        if content.startswith(LFS_POINTER):
            raise DataError(f"{path} is a Git LFS pointer, not a CSV file.", hint=LFS_HINT)
        if sum(content.count(mark) for mark in (b"\n", b"\r", b",", b";", b"\t")) > _MAX_CELLS:
            raise DataError(f"{path} has more than {_MAX_CELLS:,} cells.", hint="Keep only the columns that are read.")
        # utf-8-sig: spreadsheets start the file with a byte order mark.
        text = content.decode("utf-8-sig")
        first = next((line for line in io.StringIO(text, newline=None) if line.strip()), "")
        delimiter = next((mark for mark in "\t,;" if mark in first), ",")
        reader = csv.reader(io.StringIO(text, newline=None), delimiter=delimiter, strict=True)
        for row in reader:
            if any(map(str.strip, row)):
                yield reader.line_num, [cell.strip() for cell in row]
    except UnicodeDecodeError:
        kind = next((kind for start, kind in _OTHER_KINDS.items() if content.startswith(start)), "not UTF-8 text")
        raise DataError(f"{path} is {kind}.", hint="Save it as CSV in UTF-8.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).", hint="Check the path passed as data.") from None
    except csv.Error as error:
        raise DataError(f"{path} is not a CSV file ({error}).", hint=hint) from None


def distinct_values(body: Iterable[Row], places: Iterable[int]) -> dict[int, set[str]]:
    """Returns the different values of some columns; none of a column that has too many to hold splits."""
    values: dict[int, set[str]] = {place: set() for place in places}
    few = list(values)
    for _, row in body:
        for place in few:
            values[place].add(cell_of(row, place))
        if full := [place for place in few if len(values[place]) > _MAX_VALUES]:
            few = [place for place in few if place not in full]
            for place in full:
                values[place] = set()
    return values


def cell_of(row: Sequence[str], place: int) -> str:
    """Returns a cell of a row, empty if the row is too short."""
    return row[place] if place < len(row) else ""


def fold_header(cell: str) -> str:
    """Returns the name of a column for comparison: ``"Image Path"`` becomes ``"image_path"``."""
    return re.sub(r"[\s_-]+", "_", cell.strip().lower())
