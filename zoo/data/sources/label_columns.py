"""Finds and reads the labels of a table: one label, several with a separator, or columns of 0 and 1."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from zoo.data.sources.split_columns import SPLIT_HEADERS, are_splits
from zoo.data.sources.split_names import parse_flag_name, parse_split
from zoo.data.sources.table_rows import cell_of, distinct_values, fold_header
from zoo.errors import DataError, did_you_mean
from zoo.plugins.options import option

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from zoo.data.sources.table_rows import Table

LABEL_HEADERS = ("label", "class", "class_name", "category", "label_name", "target")
TAG_HEADERS = ("tag", "keyword")
AUTO = "auto"
SEVERAL_HINT = "If a photo may have several labels, or none, pass --data-option multi-label=yes."
SEPARATORS = ("|", ";")  # recognised by themselves
_WORDS = {"space": " ", "comma": ",", "tab": "\t"}  # of separators that are hard to pass on a command line
_OTHERS = frozenset(["fold", "group", "group_id", "id", "index", "width", "height"])  # columns that are never labels
_FLAGS = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}
_FLAG_HINT = (
    "Write 1 where a photo has the label, and 0 where it does not. To read other columns, name those of the labels: "
    "--data-option labels=NAME,NAME."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """How to read the labels of a table."""

    labels: str = option(
        AUTO,
        help="The column of the label or labels, or the columns of 0 and 1, separated by commas; auto: by their names.",
    )
    separator: str = option(
        AUTO,
        help="What separates the labels of a photo in their column, a character or space, comma or tab; "
        "auto: | or ; in a column 'labels' or 'tags'.",
    )
    multi_label: Literal["auto", "yes", "no"] = option(
        AUTO,
        help="Whether a photo may have several labels or none, also in several rows, one for each label; auto: if its "
        "column has separators, or columns of 0 and 1 are not exactly once 1.",
    )

    def __post_init__(self) -> None:
        if not self.separator:
            raise ValueError(f"The separator is empty: pass {', '.join(_WORDS)} or a character.")
        if self.multi_label == "no" and self.separator != AUTO:
            raise ValueError("A separator needs multi-label=yes.")


class LabelReader(Protocol):
    """Reads the labels of a row."""

    def __call__(self, where: str, row: list[str]) -> tuple[str, ...] | None:
        """Returns the labels, none of which is empty; None where the cells are empty, which may mean no label.

        Raises:
            DataError: The cells are wrong; the message begins with `where`.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelColumns:
    """How a table gives the labels.

    Attributes:
        read: Reads those of a row.
        places: The columns.
        multi_label: Whether a photo may have several labels, or none.
        may_be_empty: Whether a photo with empty cells is one without labels.
        repeats: Whether a photo may be in several rows, one for each label.
        names: The labels that the header names; None if the cells do.
        separator: What separates the labels of a cell, or empty.
        note: A sentence about the columns, or empty.
        warnings: Sentences about what may be meant otherwise.
    """

    read: LabelReader
    places: tuple[int, ...]
    multi_label: bool = False
    may_be_empty: bool = False
    repeats: bool = False
    names: tuple[str, ...] | None = None
    separator: str = ""
    note: str = ""
    warnings: tuple[str, ...] = field(default=())


def find_label_columns(
    path: Path, header: Sequence[str], body: Table, options: TableOptions, *, candidates: Sequence[int], photo: int
) -> LabelColumns | None:
    """Returns how a table gives the labels, or None if no column can hold them.

    Args:
        path: The table.
        header: The names of the columns; empty if the table has none.
        body: The rows below the header.
        options: What the user said.
        candidates: The columns with a usual name for the label.
        photo: The column of the paths.

    Raises:
        DataError: There is no such column, or a cell may be meant in two ways.
    """
    if options.labels != AUTO:
        places = _find_named(path, header, options.labels)
        if len(places) > 1:
            return _read_flags(path, header, body, options, places)
        return read_label_column(path, header, body, options, places[0])
    if not candidates:
        tags = [place for place, name in enumerate(header) if fold_header(name).removesuffix("s") in TAG_HEADERS]
        candidates = [place for place in tags if place != photo][:1]
    if candidates:
        return read_label_column(path, header, body, options, candidates[0])
    places = _find_flags(path, header, body, photo)
    return _read_flags(path, header, body, options, places) if len(places) > 1 else None


def read_label_column(
    path: Path, header: Sequence[str], body: Table, options: TableOptions, place: int
) -> LabelColumns:
    """Returns how a column gives the label or the labels; arguments and errors as in `find_label_columns`."""
    if options.multi_label == "no":
        return LabelColumns(read=_OneLabel(place), places=(place,))
    name = header[place] if header else ""
    folded = fold_header(name)
    plural = folded.removesuffix("s") in (*LABEL_HEADERS, *TAG_HEADERS) and folded not in LABEL_HEADERS
    separator = _WORDS.get(options.separator, options.separator)
    if separator == AUTO:
        separator = _find_separator(path, name, body, place) if plural or options.multi_label == "yes" else ""
    if separator or options.multi_label == "yes":
        return LabelColumns(
            read=_JoinedLabels(place, separator),
            places=(place,),
            multi_label=True,
            may_be_empty=True,
            repeats=options.multi_label == "yes",
            separator=separator,
        )
    is_tags = folded.removesuffix("s") in TAG_HEADERS
    marks = (*SEPARATORS, ",", " ") if is_tags else (*SEPARATORS, ",") if plural else SEPARATORS
    warning = _suspect_several(path, name, body, place, marks=marks, refuse=is_tags)
    return LabelColumns(read=_OneLabel(place), places=(place,), warnings=(warning,) if warning else ())


def _find_named(path: Path, header: Sequence[str], labels: str) -> list[int]:
    """Returns the columns that the option ``labels`` names: one, or several separated by commas."""
    if not header:
        raise DataError(f"{path} has no header, so no column is named '{labels}'.", hint="Add a header.")
    folded = [fold_header(name) for name in header]
    names = [labels] if fold_header(labels) in folded else [name.strip() for name in labels.split(",")]
    for name in names:
        if fold_header(name) not in folded:
            listed = ", ".join(f"'{each}'" for each in header)
            raise DataError(f"{path} has no column '{name}'; the header has {listed}.", hint=did_you_mean(name, header))
    return [folded.index(fold_header(name)) for name in dict.fromkeys(names)]


def _find_separator(path: Path, name: str, body: Table, place: int) -> str:
    """Returns the separator in a column: the one that it has, or empty text.

    Raises:
        DataError: It has two.
    """
    found: dict[str, int] = {}
    for line, row in body:
        for mark in SEPARATORS:
            if mark in cell_of(row, place):
                found.setdefault(mark, line)
    if len(found) > 1:
        lines = " and ".join(f"'{mark}' (line {line})" for mark, line in found.items())
        raise DataError(
            f"{path}: the column '{name}' has {lines}, each of which may separate labels.",
            hint="Pass the one that does: --data-option separator='|'.",
        )
    return next(iter(found), "")


def _suspect_several(path: Path, name: str, body: Table, place: int, *, marks: Sequence[str], refuse: bool) -> str:
    """Returns a warning if a cell that is read as one label has a mark that may separate several; or refuses it."""
    for line, row in body:
        cell = cell_of(row, place)
        if mark := next((mark for mark in marks if mark in cell), ""):
            word = next((word for word, each in _WORDS.items() if each == mark), f"'{mark}'")
            text = f"{path}, line {line}: '{cell}' in the column '{name}' may be one label or several"
            hint = f"--data-option separator={word} reads several, --data-option multi-label=no one"
            if refuse:
                raise DataError(f"{text}.", hint=f"{hint}.")
            return f"{text}; it is read as one. {hint}."
    return ""


def _find_flags(path: Path, header: Sequence[str], body: Table, photo: int) -> list[int]:
    """Returns the columns of which most cells are 0 or 1, but not those that hold the split.

    Raises:
        DataError: A column may be a label, or hold the split.
    """
    folded = [fold_header(name) for name in header]
    values = distinct_values(body, [place for place in range(len(header)) if place != photo])
    places = [
        place
        for place, cells in values.items()
        if folded[place] not in ("", *SPLIT_HEADERS, *_OTHERS)
        and not are_splits(cells)
        and _FLAGS.keys() & _fold(cells)
    ]
    counts = dict.fromkeys(places, 0)
    for _, row in body:
        for place in places:
            cell = cell_of(row, place).lower()
            counts[place] += (cell in _FLAGS) - (cell not in _FLAGS and cell != "")
    found = [place for place, count in counts.items() if count > 0]
    splits = {place for place in found if parse_flag_name(header[place]) and not parse_split(header[place])}
    found = [place for place in found if place not in splits]
    if len(found) > 1 and (doubtful := [header[place] for place in found if parse_split(header[place])]):
        raise DataError(
            f"{path}: the column '{doubtful[0]}' may be a label, or hold the split.",
            hint=f"Rename it to is_{doubtful[0]} if it holds the split; otherwise name the columns of all labels: "
            "--data-option labels=NAME,NAME.",
        )
    return found


def _read_flags(
    path: Path, header: Sequence[str], body: Table, options: TableOptions, places: Sequence[int]
) -> LabelColumns:
    """Returns how columns of 0 and 1 give the labels; see `find_label_columns`.

    If each photo has exactly one, and the user did not say otherwise, these are the classes of single-label data.
    """
    if options.separator != AUTO:
        raise DataError(f"{path}: columns of 0 and 1 have no separator.", hint="Leave out --data-option separator.")
    names = {place: header[place] for place in places}
    if duplicates := [name for name in names.values() if list(names.values()).count(name) > 1]:
        raise DataError(f"{path} has two columns '{duplicates[0]}'.", hint="Delete or rename one of the two.")
    reader = _FlagColumns(names, exclusive=False)
    note = ""
    multi_label = options.multi_label == "yes"
    if options.multi_label == AUTO:
        read = (reader(f"{path}, line {line}", row) for line, row in body)
        multi_label = any(labels is not None and len(labels) != 1 for labels in read)
        if not multi_label:
            note = (
                f"Each photo has exactly one of the {len(names)} labels, which are read as classes; for independent "
                "labels pass --data-option multi-label=yes."
            )
    return LabelColumns(
        read=reader if multi_label else _FlagColumns(names, exclusive=True),
        places=tuple(places),
        multi_label=multi_label,
        names=tuple(names.values()),
        note=note,
    )


def _fold(cells: Collection[str]) -> set[str]:
    return {cell.lower() for cell in cells}


@dataclass(frozen=True, slots=True)
class _OneLabel:
    """Reads a column of one label for each photo."""

    place: int

    def __call__(self, where: str, row: list[str]) -> tuple[str, ...] | None:
        label = cell_of(row, self.place)
        return (label,) if label else None


@dataclass(frozen=True, slots=True)
class _JoinedLabels:
    """Reads a column of labels with a separator, which is empty if there is one label in each row."""

    place: int
    separator: str

    def __call__(self, where: str, row: list[str]) -> tuple[str, ...] | None:
        cell = cell_of(row, self.place)
        if not cell:
            return None
        labels = [cell]
        if self.separator:
            parts = cell.split(self.separator) if self.separator != " " else cell.split()
            labels = [part.strip() for part in parts]
        if not all(labels):
            raise DataError(
                f"{where}: '{cell}' has an empty label.", hint=f"Delete the '{self.separator}' beside which none is."
            )
        return tuple(labels)


@dataclass(frozen=True, slots=True)
class _FlagColumns:
    """Reads columns of 0 and 1, one for each label; if they are exclusive, exactly one of a row must be 1."""

    names: Mapping[int, str]
    exclusive: bool

    def __call__(self, where: str, row: list[str]) -> tuple[str, ...] | None:
        cells = {name: cell_of(row, place) for place, name in self.names.items()}
        if not any(cells.values()):
            return None
        flags = {name: _FLAGS.get(cell.lower()) for name, cell in cells.items()}
        if wrong := next((name for name, flag in flags.items() if flag is None), ""):
            got = f"'{cells[wrong]}'" if cells[wrong] else "empty"
            raise DataError(f"{where}: the column '{wrong}' is {got}, not 0 or 1.", hint=_FLAG_HINT)
        labels = tuple(name for name, flag in flags.items() if flag)
        if self.exclusive and len(labels) != 1:
            found = " and ".join(f"'{label}'" for label in labels[:3]) or "none"
            raise DataError(f"{where}: not exactly one of the columns is 1, but {found}.", hint=SEVERAL_HINT)
        return labels
