"""Reads a CSV file of path,label or path,label,split."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import re
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import TYPE_CHECKING

from zoo.data.images.formats import has_image_suffix
from zoo.data.sources.folder import LabelledFiles, build_image_set, slugify
from zoo.data.sources.left_out import LostFile
from zoo.data.sources.split_names import parse_flag, parse_flag_name, parse_split, parse_split_name
from zoo.data.sources.walk import UNLABELLED, SkippedFile, escape_undecodable, judge_suffix
from zoo.errors import DataError
from zoo.plugins.specs import SPLITS
from zoo.utils.files import LFS_HINT, LFS_POINTER, read_regular_file
from zoo.utils.paths import missing_path_advice

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from zoo.plugins.specs import ImageSet

_PATH_HEADERS = (
    "path file filename file_name filepath file_path image image_path image_name img img_path photo".split()  # noqa: SIM905
)
_LABEL_HEADERS = ("label", "class", "class_name", "category", "label_name", "target")
_SPLIT_HEADERS = ("split", "part", "subset", "set", "partition")
_FOLD = "fold"
_PATH_SEPARATOR = re.compile(r"[/\\]")
_MAX_CELLS = 50_000_000  # ten million photos with a few columns
_MAX_VALUES = 100  # different values of a column; one with more holds no splits
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
Row = tuple[int, list[str]]  # the line number and the cells


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """Where the columns are; `split_of` returns the split of a row, or what it cannot understand of it."""

    path: int
    label: int
    split_of: Callable[[list[str]], str]
    split_header: str = ""
    note: str = ""
    warnings: tuple[str, ...] = ()


def read_csv(path: Path, *, strict: bool = True, known: Collection[str] | None = None) -> ImageSet:
    """Reads a table of images: path, label and optionally split (train, val or test).

    Paths are relative to the CSV file. With a header of known names the columns may be in any order, among others;
    without one the order is path, label, split. The split may also be in columns of yes and no, such as ``is_valid``,
    and in any column whose values are all names of splits. Fields are separated by commas, semicolons or tabs. The text
    is UTF-8. Rows of the test split without a label are left out with a note.

    Args:
        path: The table.
        strict: As in `zoo.data.sources.folder.build_image_set`; if False, missing files are listed like any others.
        known: As in `zoo.data.sources.folder.build_image_set`.

    Raises:
        DataError: The table cannot be read, a file is missing or listed twice, its columns may be meant in two ways, or
            the classes are inconsistent (see `zoo.data.sources.folder.build_image_set`). The message names the line.
    """
    rows = _Table(path)
    if (first := next(iter(rows), None)) is None:
        raise DataError(f"{path} lists no images.", hint=_HINT)
    columns, body = _find_columns(path, first, rows)
    if known is not None and columns.split_of is _always_train:
        columns = dataclasses.replace(columns, split_of=_always_test)
    labelled: LabelledFiles = {}
    skipped: list[LostFile] = []
    lines: dict[str, int] = {}
    for line, row in body:
        where = f"{path}, line {line}"
        file, label, split = _parse_row(where, row, columns, path.parent)
        if strict and not os.path.isfile(file):  # noqa: PTH113  pathlib raises where a name is too long
            raise DataError(f"{where}: there is no file {file}.", hint=missing_path_advice(file) or _HINT)
        if (earlier := lines.setdefault(os.path.normpath(file), line)) != line:
            raise DataError(f"{where}: {file.name} is already listed in line {earlier}.", hint="Delete one of the two.")
        name = _sample_name(file, path.parent)
        if reason := judge_suffix(file.name) if label else UNLABELLED:
            skipped.append(LostFile(SkippedFile(file, name, reason, 1), split, label))
        files = labelled.setdefault(split, {}).setdefault(label, []) if label else []
        files += [] if reason else [(file, name)]
    if known is None and "train" not in labelled:
        raise DataError(f"{path} lists no images of the split 'train'.", hint=_HINT)
    images = build_image_set(
        name=slugify(path.stem), labelled=labelled, skipped=skipped, where=str(path), strict=strict, known=known
    )
    return dataclasses.replace(images, note=columns.note, warnings=(*columns.warnings, *images.warnings))


@dataclass(frozen=True, slots=True)
class _Table:
    """The rows of a table, read again in each pass: all rows together may take more memory than there is."""

    path: Path
    start: int = 0

    def __iter__(self) -> Iterator[Row]:
        return islice(_read_rows(self.path), self.start, None)


def _read_rows(path: Path) -> Iterator[Row]:
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


def _find_columns(path: Path, first: Row, rows: _Table) -> tuple[_Columns, _Table]:
    """Returns where the columns are, and the rows below the header."""
    line, cells = first
    header, body = [_fold_header(cell) for cell in cells], _Table(path, start=1)
    paths, labels = _places(header, _PATH_HEADERS), _places(header, _LABEL_HEADERS)
    if paths and labels:
        if len(labels) > 1:  # one of them may hold the splits
            labels = [place for place, values in _distinct(body, labels).items() if not _are_splits(values)] or labels
        second = next(iter(body), (0, []))[1]
        place = next((place for place in paths if _is_file(path.parent, _cell(second, place))), paths[0])
        label = _choose_label(path, cells, labels, body) if len(labels) > 1 else labels[0]
        columns = _Columns(path=place, label=label, split_of=_always_train)
        return _find_split_columns(path, cells, {*paths, *labels}, body, columns), body
    if _is_unknown_header(path, cells):
        missing, names = "label" if paths else "path", ", ".join(f"'{cell}'" for cell in cells)
        raise DataError(
            f"{path}, line {line}: no column is named {missing}; the header has {names}.", hint=_HEADER_HINT
        )
    if len(cells) not in (2, 3):
        text = f"{path}, line {line} has {len(cells)} columns and no header names them."
        raise DataError(text, hint=_HEADER_HINT)
    columns = _Columns(path=0, label=1, split_of=_always_train if len(cells) == 2 else _Named(2))
    return (_add_path_splits(path, columns, rows) if len(cells) == 2 else columns), rows


def _is_unknown_header(path: Path, cells: list[str]) -> bool:
    """Returns whether the first row cannot be a photo: its first cell is no path, and no cell ends like a photo."""
    is_path = os.path.exists(path.parent / cells[0])  # noqa: PTH110  as above
    return not is_path and not any(map(has_image_suffix, cells))


def _choose_label(path: Path, header: Sequence[str], places: Sequence[int], body: _Table) -> int:
    """Returns the column of the classes. Of several that agree, as ``target`` and ``label``, it is one with names.

    Raises:
        DataError: The columns divide the photos into different classes.
    """
    rows: dict[tuple[int, str], tuple[str, ...]] = {}
    for line, row in body:
        values = tuple(_cell(row, place) for place in places)
        for place, value in zip(places, values, strict=True):
            if rows.setdefault((place, value), values) != values:
                names = " and ".join(f"'{header[place]}'" for place in places)
                raise DataError(
                    f"{path}, line {line}: the columns {names} may each be the class, but disagree.",
                    hint="Rename or delete those that are not meant.",
                )
    return min(places, key=lambda place: all(_is_number(value) for each, value in rows if each == place))


def _find_split_columns(
    path: Path, header: Sequence[str], others: Collection[int], body: _Table, columns: _Columns
) -> _Columns:
    """Returns the columns with those that hold the split: a column of names, or columns of yes and no.

    Raises:
        DataError: Two columns hold different splits.
    """
    folded = [_fold_header(cell) for cell in header]
    values = _distinct(body, [place for place in range(len(header)) if place not in others])
    named = [place for place, cells in values.items() if folded[place] in _SPLIT_HEADERS or _are_splits(cells)]
    flags = {place: parse_flag_name(header[place]) for place in values if place not in named}
    flags = {place: split for place, split in flags.items() if split and _are_flags(values[place])}
    if any(folded[place] == "valid" for place in flags):
        raise DataError(
            f"{path}: the column 'valid' may hold the validation split, or whether a photo is good.",
            hint="Rename it to is_valid if it holds the split, and to another name otherwise.",
        )
    ways: list[tuple[str, Callable[[list[str]], str]]] = [(header[place], _Named(place)) for place in named]
    if flags:
        ways.append((header[min(flags)], _Flags(flags)))
    for name, way in ways[1:]:
        if line := next((line for line, row in body if way(row) != ways[0][1](row)), None):
            raise DataError(
                f"{path}, line {line}: the columns '{ways[0][0]}' and '{name}' name different splits.",
                hint="Keep one of the two.",
            )
    if ways:
        return dataclasses.replace(columns, split_of=ways[0][1], split_header=ways[0][0])
    text = "The column '{}' is not read: the splits are taken at random. Name them train, val and test instead."
    folds = tuple(text.format(name) for name, cell in zip(header, folded, strict=True) if cell == _FOLD)
    return _add_path_splits(path, dataclasses.replace(columns, warnings=folds), body)


def _add_path_splits(path: Path, columns: _Columns, body: _Table) -> _Columns:
    """Returns the columns with the splits that paths name, such as ``test/cat/1.jpg``, if they name any to hold out.

    Raises:
        DataError: Only some of the paths name a split.
    """
    folders = (_PATH_SEPARATOR.split(_cell(row, columns.path))[:-1] for _, row in body)
    way = _PathSplits(columns.path, columns.label, start=_count_common(folders))
    splits = {way(row) for _, row in body}
    if len(splits) < 2 or splits == {"train", ""}:
        return columns
    if line := next((line for line, row in body if not way(row)), None):
        raise DataError(
            f"{path}, line {line}: the path names no split, but other paths do.",
            hint="Add a column 'split' of train, val and test.",
        )
    return dataclasses.replace(columns, split_of=way, note="The splits are those of the folders in the paths.")


def _count_common(folders: Iterable[list[str]]) -> int:
    """Returns the number of folders that all paths start with."""
    common: list[str] | None = None
    for parts in folders:
        if common is None:
            common = parts
        elif parts[: len(common)] != common:
            pairs = zip(common, parts, strict=False)
            common = [one for one, other in takewhile(lambda pair: pair[0] == pair[1], pairs)]
    return len(common or ())


def _distinct(body: _Table, places: Iterable[int]) -> dict[int, set[str]]:
    """Returns the different values of some columns; none of a column that has too many to hold splits."""
    values: dict[int, set[str]] = {place: set() for place in places}
    few = list(values)
    for _, row in body:
        for place in few:
            values[place].add(_cell(row, place))
        if full := [place for place in few if len(values[place]) > _MAX_VALUES]:
            few = [place for place in few if place not in full]
            for place in full:
                values[place] = set()
    return values


def _always_train(row: list[str]) -> str:
    return "train"


def _always_test(row: list[str]) -> str:
    return "test"


@dataclass(frozen=True, slots=True)
class _Named:
    """Reads the split from a column of names."""

    place: int

    def __call__(self, row: list[str]) -> str:
        cell = _cell(row, self.place)
        return parse_split(cell) or cell


@dataclass(frozen=True, slots=True)
class _Flags:
    """Reads the split from columns of yes and no, each for one split."""

    places: dict[int, str]

    def __call__(self, row: list[str]) -> str:
        flags = {split: parse_flag(_cell(row, place)) for place, split in self.places.items()}
        chosen = [split for split, value in flags.items() if value]
        if len(chosen) > 1:
            return " and ".join(chosen)
        # What is not to be trained on, and belongs to no other split, is for the final test.
        return chosen[0] if chosen else "test" if "train" in flags else "train"


@dataclass(frozen=True, slots=True)
class _PathSplits:
    """Reads the split from a folder of the path: the outermost with the usual name of one, behind a common start."""

    path: int
    label: int
    start: int

    def __call__(self, row: list[str]) -> str:
        parts = _PATH_SEPARATOR.split(_cell(row, self.path))[self.start : -1]
        if parts and parts[-1] == _cell(row, self.label):  # the class, which may be called "train"
            parts.pop()
        names = (parse_split_name(part) for part in parts)
        return next((name.split for name in names if name is not None and name.plain), "")


def _parse_row(where: str, row: list[str], columns: _Columns, folder: Path) -> tuple[Path, str, str]:
    """Returns file, label and split; the label may be empty in the test split."""
    file, label, split = _cell(row, columns.path), _cell(row, columns.label), columns.split_of(row)
    for name, cell in (("path", file), ("label", label or split == "test"), ("split", split)):
        if not cell:
            raise DataError(f"{where}: the {name} is missing.", hint=_HINT)
    if split not in SPLITS:
        column = f" in the column '{columns.split_header}'" if columns.split_header else ""
        raise DataError(f"{where}: unknown split '{split}'{column}.", hint=_HINT)
    return folder / file, label, split


def _places(header: Sequence[str], names: Collection[str]) -> list[int]:
    """Returns the columns with one of several names, which may be in the plural; in the order of the header."""
    return [place for place, cell in enumerate(header) if cell in names or cell.removesuffix("s") in names]


def _fold_header(cell: str) -> str:
    return re.sub(r"[\s_-]+", "_", cell.strip().lower())


def _are_splits(cells: Collection[str]) -> bool:
    """Returns whether most values of a column contain names of splits, of two at least."""
    splits = [found.split for cell in cells if (found := parse_split_name(cell)) is not None]
    return len(set(splits)) > 1 and 2 * len(splits) >= len(cells)


def _are_flags(cells: Collection[str]) -> bool:
    return {parse_flag(cell) for cell in cells} == {True, False}


def _is_number(value: str) -> bool:
    return value.lstrip("-").replace(".", "", 1).isdecimal()


def _is_file(folder: Path, name: str) -> bool:
    return os.path.isfile(folder / name)  # noqa: PTH113  pathlib raises where a name is too long


def _cell(row: Sequence[str], place: int) -> str:
    return row[place] if place < len(row) else ""


def _sample_name(file: Path, folder: Path) -> str:
    return escape_undecodable((file.relative_to(folder) if file.is_relative_to(folder) else file).as_posix())
