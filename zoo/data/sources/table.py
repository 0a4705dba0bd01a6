"""Reads a CSV file of path,label or path,label,split."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.data.sources.folder import (
    IMAGE_SUFFIXES,
    SPLIT_NAMES,
    LabelledFiles,
    build_image_set,
    escape_undecodable,
    slugify,
)
from zoo.errors import DataError
from zoo.utils.files import LFS_HINT, LFS_POINTER, read_regular_file
from zoo.utils.paths import missing_path_advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zoo.plugins.specs import ImageSet

_PATH_HEADERS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img")
_LABEL_HEADERS = ("label", "class", "class_name", "category", "target")
_SPLIT_HEADERS = ("split", "part", "subset", "set")
_MAX_CELLS = 50_000_000  # ten million photos with a few columns
_HINT = (
    "Each line is path,label or path,label,split. Paths are relative to the CSV file; the split is train, val or test."
)


_HEADER_HINT = (
    f"The header names the columns: {_PATH_HEADERS[0]} (or {', '.join(_PATH_HEADERS[1:])}), {_LABEL_HEADERS[0]} (or "
    f"{', '.join(_LABEL_HEADERS[1:])}) and, if there are splits, {_SPLIT_HEADERS[0]} "
    f"(or {', '.join(_SPLIT_HEADERS[1:])})."
)
# How files of other kinds begin.
_OTHER_KINDS = {
    b"PK": "a spreadsheet or an archive, not a CSV file",
    b"\xd0\xcf\x11\xe0": "a spreadsheet, not a CSV file",
    b"PAR1": "a Parquet file, not a CSV file",
    b"\xff\xfe": "UTF-16 text, not UTF-8",
    b"\xfe\xff": "UTF-16 text, not UTF-8",
}


@dataclass(frozen=True, slots=True)
class _Columns:
    path: int
    label: int
    split: int | None


def read_csv(path: Path, *, strict: bool = True) -> ImageSet:
    """Reads a table of images: path, label and optionally split (train, val or test).

    Paths are relative to the CSV file. With a header of known names the columns may be in any order, among others;
    without one the order is path, label, split. Fields are separated by commas, semicolons or tabs. The text is UTF-8.

    Args:
        path: The table.
        strict: As in `zoo.data.sources.folder.build_image_set`; if False, missing files are listed like any others.

    Raises:
        DataError: The table cannot be read, a file is missing or listed twice, or the classes are inconsistent
            (see `zoo.data.sources.folder.build_image_set`). The message names the line.
    """
    rows = _read_rows(path)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{path} lists no images.", hint=_HINT)
    columns, has_header = _find_columns(path, first)
    body = rows if has_header else chain([first], rows)
    labelled: LabelledFiles = {}
    lines: dict[Path, int] = {}
    for line, row in body:
        where = f"{path}, line {line}"
        file, label, split = _parse_row(where, row, columns, path.parent)
        if strict and not os.path.isfile(file):  # noqa: PTH113  pathlib raises where a name is too long
            raise DataError(f"{where}: there is no file {file}.", hint=missing_path_advice(file) or _HINT)
        if (earlier := lines.setdefault(file, line)) != line:
            raise DataError(f"{where}: {file.name} is already listed in line {earlier}.", hint="Delete one of the two.")
        labelled.setdefault(split, {}).setdefault(label, []).append((file, _sample_name(file, path.parent)))
    if "train" not in labelled:
        raise DataError(f"{path} lists no images of the split 'train'.", hint=_HINT)
    return build_image_set(name=slugify(path.stem), labelled=labelled, skipped=(), where=str(path), strict=strict)


def _read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yields the line number and the cells of each row that is not blank."""
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
        raise DataError(f"{path} is not a CSV file ({error}).", hint=_HINT) from None


def _find_columns(path: Path, first: tuple[int, list[str]]) -> tuple[_Columns, bool]:
    """Returns where the columns are, and whether the first row is a header."""
    line, cells = first[0], [cell.lower() for cell in first[1]]
    places = [_find_header(cells, names) for names in (_PATH_HEADERS, _LABEL_HEADERS, _SPLIT_HEADERS)]
    if places[0] is not None and places[1] is not None:
        return _Columns(places[0], places[1], places[2]), True
    if _is_unknown_header(path, first[1]):
        missing = "path" if places[0] is None else "label"
        names = ", ".join(f"'{cell}'" for cell in first[1])
        raise DataError(
            f"{path}, line {line}: no column is named {missing}; the header has {names}.", hint=_HEADER_HINT
        )
    if len(cells) not in (2, 3):
        text = f"{path}, line {line} has {len(cells)} columns and no header names them."
        raise DataError(text, hint=_HEADER_HINT)
    return _Columns(0, 1, 2 if len(cells) == 3 else None), False


def _is_unknown_header(path: Path, cells: list[str]) -> bool:
    """Returns whether the first row cannot be a photo: none of its cells is a path, or has the suffix of a photo."""
    return not any(
        Path(cell).suffix.lower() in IMAGE_SUFFIXES or os.path.exists(path.parent / cell)  # noqa: PTH110  as above
        for cell in cells
    )


def _find_header(header: list[str], names: tuple[str, ...]) -> int | None:
    return next((place for place, cell in enumerate(header) if cell in names), None)


def _parse_row(where: str, row: list[str], columns: _Columns, folder: Path) -> tuple[Path, str, str]:
    """Returns file, label and split."""
    wanted = [columns.path, columns.label] + ([] if columns.split is None else [columns.split])
    cells = [row[place] if place < len(row) else "" for place in wanted]
    if not all(cells):
        missing = ("path", "label", "split")[cells.index("")]
        raise DataError(f"{where}: the {missing} is missing.", hint=_HINT)
    split = SPLIT_NAMES.get(cells[2].lower(), "") if len(cells) == 3 else "train"
    if not split:
        raise DataError(f"{where}: unknown split '{cells[2]}'.", hint=_HINT)
    return folder / cells[0], cells[1], split


def _sample_name(file: Path, folder: Path) -> str:
    return escape_undecodable((file.relative_to(folder) if file.is_relative_to(folder) else file).as_posix())
