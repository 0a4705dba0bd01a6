"""Reads a CSV file of path,label or path,label,split."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo.data.sources.folder import PARTS, Labelled, build, printable, slug
from zoo.errors import DataError
from zoo.utils.files import read_plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zoo.plugins.specs import ImageSet

_PATH_WORDS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img")
_LABEL_WORDS = ("label", "class", "class_name", "category", "target")
_SPLIT_WORDS = ("split", "part", "subset", "set")
_HINT = "A line is path,label or path,label,split; paths are relative to the CSV file; split is train, val or test."


@dataclass(frozen=True, slots=True)
class _Columns:
    path: int
    label: int
    split: int | None


def read_csv(path: Path, *, strict: bool = True) -> ImageSet:
    """Reads a table of images: path, label and, if there is a third column, split (train, val, test).

    Paths are relative to the CSV file. A header is recognised by its words and may then name the columns in any
    order, others among them; without one the order is path, label, split. Fields are separated by commas,
    semicolons or tabs. The text is UTF-8.

    Args:
        path: Of the table.
        strict: As in `zoo.data.sources.folder.build`; if not, files that are missing are listed like any others.

    Raises:
        DataError: The table cannot be read, a file is missing or listed twice, or the classes make no sense
            (see `zoo.data.sources.folder.build`); the message names the line.
    """
    rows = _rows(path)
    if not rows:
        raise DataError(f"{path} lists no images.", hint=_HINT)
    columns, body = _columns(path, rows)
    labelled: Labelled = {}
    lines: dict[Path, int] = {}
    for line, row in body:
        where = f"{path}, line {line}"
        file, label, part = _entry(where, row, columns, path.parent)
        if strict and not os.path.isfile(file):  # noqa: PTH113  pathlib raises where a name is too long
            raise DataError(f"{where}: there is no file {file}.", hint=_HINT)
        if (first := lines.setdefault(file, line)) != line:
            raise DataError(f"{where}: {file.name} is listed already in line {first}.", hint="Delete one of the two.")
        labelled.setdefault(part, {}).setdefault(label, []).append((file, _name(file, path.parent)))
    if "train" not in labelled:
        raise DataError(f"{path} lists no images of the split 'train'.", hint=_HINT)
    return build(name=slug(path.stem), labelled=labelled, skipped=(), where=str(path), strict=strict)


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Returns the line number and the cells of each row that is not blank."""
    try:
        # utf-8-sig: spreadsheets put a byte order mark in front.
        text = read_plain(path).decode("utf-8-sig")
        first = next((line for line in text.splitlines() if line.strip()), "")
        delimiter = next((mark for mark in "\t,;" if mark in first), ",")
        reader = csv.reader(io.StringIO(text, newline=None), delimiter=delimiter, strict=True)
        return [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text.", hint="Save it as CSV in UTF-8.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).", hint="Check the path given as data.") from None
    except csv.Error as error:
        raise DataError(f"{path} is not a CSV file ({error}).", hint=_HINT) from None


def _columns(path: Path, rows: Sequence[tuple[int, list[str]]]) -> tuple[_Columns, Sequence[tuple[int, list[str]]]]:
    """Returns where the columns are, and the rows below the header."""
    first = [cell.lower() for cell in rows[0][1]]
    places = [_place(first, words) for words in (_PATH_WORDS, _LABEL_WORDS, _SPLIT_WORDS)]
    if places[0] is not None and places[1] is not None:
        return _Columns(places[0], places[1], places[2]), rows[1:]
    if len(first) not in (2, 3):
        raise DataError(f"{path}, line {rows[0][0]} has {len(first)} columns, and no header says which.", hint=_HINT)
    return _Columns(0, 1, 2 if len(first) == 3 else None), rows


def _place(header: list[str], words: tuple[str, ...]) -> int | None:
    return next((place for place, cell in enumerate(header) if cell in words), None)


def _entry(where: str, row: list[str], columns: _Columns, folder: Path) -> tuple[Path, str, str]:
    wanted = [columns.path, columns.label] + ([] if columns.split is None else [columns.split])
    cells = [row[place] if place < len(row) else "" for place in wanted]
    if not all(cells):
        missing = ("path", "label", "split")[cells.index("")]
        raise DataError(f"{where}: there is no {missing}.", hint=_HINT)
    part = PARTS.get(cells[2].lower(), "") if len(cells) == 3 else "train"
    if not part:
        raise DataError(f"{where}: the split is '{cells[2]}'.", hint=_HINT)
    return folder / cells[0], cells[1], part


def _name(file: Path, folder: Path) -> str:
    return printable((file.relative_to(folder) if file.is_relative_to(folder) else file).as_posix())
