"""Finds the columns of a table of photos: the path, the label or labels, and the split."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo.data.images.formats import has_image_suffix
from zoo.data.sources.label_columns import AUTO, LABEL_HEADERS, find_label_columns, read_label_column
from zoo.data.sources.split_columns import (
    SPLIT_HEADERS,
    SplitColumns,
    always_train,
    are_splits,
    find_named_splits,
    find_path_splits,
    find_splits,
)
from zoo.data.sources.table_rows import TABLE_FORM, Table, cell_of, distinct_values, fold_header
from zoo.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from zoo.data.sources.label_columns import LabelColumns, TableOptions
    from zoo.data.sources.table_rows import Row

PATH_HEADERS = (
    "path file filename file_name filepath file_path image image_path image_name img img_path photo".split()  # noqa: SIM905
)
_HEADER_HINT = (
    f"The header names the columns: {PATH_HEADERS[0]} (or {', '.join(PATH_HEADERS[1:])}), {LABEL_HEADERS[0]} (or "
    f"{', '.join(LABEL_HEADERS[1:])}) and, if there are splits, {SPLIT_HEADERS[0]} "
    f"(or {', '.join(SPLIT_HEADERS[1:])}). Another column of labels: --data-option labels=NAME."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableColumns:
    """Where the columns of a table are.

    Attributes:
        body: The rows below the header.
        path: The column of the paths.
        labels: The columns of the labels.
        splits: The columns of the splits.
    """

    body: Table
    path: int
    labels: LabelColumns
    splits: SplitColumns

    @property
    def has_splits(self) -> bool:
        """Whether the table names the splits."""
        return self.splits.split_of is not always_train


def find_columns(path: Path, options: TableOptions) -> TableColumns:
    """Returns where the columns of a table are.

    Raises:
        DataError: The table cannot be read or is empty, or its columns are missing or may be meant in two ways.
    """
    rows = Table(path)
    if (first := next(iter(rows), None)) is None:
        raise DataError(f"{path} lists no images.", hint=TABLE_FORM)
    line, cells = first
    header, body = [fold_header(cell) for cell in cells], Table(path, start=1)
    if paths := _places(header, PATH_HEADERS):
        second = next(iter(body), (0, []))[1]
        photo = next((place for place in paths if _is_file(path.parent, cell_of(second, place))), paths[0])
        named = _places(header, LABEL_HEADERS)
        if len(named) > 1:  # one of them may hold the splits
            values = distinct_values(body, named)
            named = [place for place in named if not are_splits(values[place])] or named
        candidates = [_choose_label(path, cells, named, body)] if named and options.labels == AUTO else []
        labels = find_label_columns(path, cells, body, options, candidates=candidates, photo=photo)
        if labels is not None:
            label = None if labels.multi_label or len(labels.places) > 1 else labels.places[0]
            others = {*paths, *named, *labels.places}
            splits = find_splits(path, cells, body, others=others, photo=photo, label=label)
            return TableColumns(body=body, path=photo, labels=labels, splits=splits)
    if _is_unknown_header(path, cells):
        missing, names = "label" if paths else "path", ", ".join(f"'{cell}'" for cell in cells)
        raise DataError(
            f"{path}, line {line}: no column is named {missing}; the header has {names}.", hint=_HEADER_HINT
        )
    return _read_headless(path, first, rows, options)


def _read_headless(path: Path, first: Row, rows: Table, options: TableOptions) -> TableColumns:
    """Returns the columns of a table without a header: path, label and perhaps split."""
    line, cells = first
    if len(cells) not in (2, 3):
        text = f"{path}, line {line} has {len(cells)} columns and no header names them."
        raise DataError(text, hint=_HEADER_HINT)
    if options.labels != AUTO:
        raise DataError(f"{path} has no header, so no column is named '{options.labels}'.", hint=_HEADER_HINT)
    labels = read_label_column(path, (), rows, options, 1)
    label = None if labels.multi_label else 1
    splits = find_named_splits(2) if len(cells) == 3 else find_path_splits(path, rows, photo=0, label=label)
    return TableColumns(body=rows, path=0, labels=labels, splits=splits)


def _is_unknown_header(path: Path, cells: list[str]) -> bool:
    """Returns whether the first row cannot be a photo: its first cell is no path, and no cell ends like a photo."""
    is_path = os.path.exists(path.parent / cells[0])  # noqa: PTH110  as above
    return not is_path and not any(map(has_image_suffix, cells))


def _choose_label(path: Path, header: Sequence[str], places: Sequence[int], body: Table) -> int:
    """Returns the column of the labels. Of several that agree, as ``target`` and ``label``, it is one with names.

    Raises:
        DataError: The columns divide the photos into different classes.
    """
    if len(places) == 1:
        return places[0]
    rows: dict[tuple[int, str], tuple[str, ...]] = {}
    for line, row in body:
        values = tuple(cell_of(row, place) for place in places)
        for place, value in zip(places, values, strict=True):
            if rows.setdefault((place, value), values) != values:
                names = " and ".join(f"'{header[place]}'" for place in places)
                raise DataError(
                    f"{path}, line {line}: the columns {names} may each be the class, but disagree.",
                    hint="Rename or delete those that are not meant.",
                )
    return min(places, key=lambda place: all(_is_number(value) for each, value in rows if each == place))


def _places(header: Sequence[str], names: Collection[str]) -> list[int]:
    """Returns the columns with one of several names, which may be in the plural; in the order of the header."""
    return [place for place, cell in enumerate(header) if cell in names or cell.removesuffix("s") in names]


def _is_number(value: str) -> bool:
    return value.lstrip("-").replace(".", "", 1).isdecimal()


def _is_file(folder: Path, name: str) -> bool:
    return os.path.isfile(folder / name)  # noqa: PTH113  pathlib raises where a name is too long
