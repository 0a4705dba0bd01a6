"""Finds the splits in a table: in a column of names, in columns of yes and no, or in the folders of the paths."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from zoo.data.sources.split_names import parse_flag, parse_flag_name, parse_split, parse_split_name
from zoo.data.sources.table_rows import cell_of, distinct_values, fold_header
from zoo.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path

    from zoo.data.sources.table_rows import Table

SPLIT_HEADERS = ("split", "part", "subset", "set", "partition")
_FOLD = "fold"
_PATH_SEPARATOR = re.compile(r"[/\\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitColumns:
    """How a table names the splits.

    Attributes:
        split_of: Returns the split of a row, or what it cannot understand of it.
        header: The column that names them, or empty.
        note: A sentence about them, or empty.
        warnings: Sentences about columns that are not read.
    """

    split_of: Callable[[list[str]], str]
    header: str = ""
    note: str = ""
    warnings: tuple[str, ...] = ()


def find_splits(
    path: Path, header: Sequence[str], body: Table, *, others: Collection[int], photo: int, label: int | None
) -> SplitColumns:
    """Returns how a table with a header names the splits.

    Args:
        path: The table.
        header: The names of the columns.
        body: The rows below the header.
        others: Columns that hold no splits.
        photo: The column of the paths.
        label: The column of a photo's class; None if it may have several labels.

    Raises:
        DataError: Two columns hold different splits.
    """
    folded = [fold_header(cell) for cell in header]
    values = distinct_values(body, [place for place in range(len(header)) if place not in others])
    named = [place for place, cells in values.items() if folded[place] in SPLIT_HEADERS or are_splits(cells)]
    flags = {place: parse_flag_name(header[place]) for place in values if place not in named}
    flags = {place: split for place, split in flags.items() if split and _are_flags(values[place])}
    if any(folded[place] == "valid" for place in flags):
        raise DataError(
            f"{path}: the column 'valid' may hold the validation split, or whether a photo is good.",
            hint="Rename it to is_valid if it holds the split, and to another name otherwise.",
        )
    ways: list[tuple[str, Callable[[list[str]], str]]] = [(header[place], _NamedSplits(place)) for place in named]
    if flags:
        ways.append((header[min(flags)], _Flags(flags)))
    for name, way in ways[1:]:
        if line := next((line for line, row in body if way(row) != ways[0][1](row)), None):
            raise DataError(
                f"{path}, line {line}: the columns '{ways[0][0]}' and '{name}' name different splits.",
                hint="Keep one of the two.",
            )
    if ways:
        return SplitColumns(split_of=ways[0][1], header=ways[0][0])
    text = "The column '{}' is not read: the splits are taken at random. Name them train, val and test instead."
    folds = tuple(text.format(name) for name, cell in zip(header, folded, strict=True) if cell == _FOLD)
    return find_path_splits(path, body, photo=photo, label=label, warnings=folds)


def find_named_splits(place: int) -> SplitColumns:
    """Returns the splits of a table without a header, from a column of names."""
    return SplitColumns(split_of=_NamedSplits(place))


def find_path_splits(
    path: Path, body: Table, *, photo: int, label: int | None, warnings: tuple[str, ...] = ()
) -> SplitColumns:
    """Returns the splits that paths name, such as ``test/cat/1.jpg``, if they name any to hold out.

    Raises:
        DataError: Only some of the paths name a split.
    """
    folders = (_PATH_SEPARATOR.split(cell_of(row, photo))[:-1] for _, row in body)
    way = _PathSplits(photo, label, start=_count_common(folders))
    splits = {way(row) for _, row in body}
    if len(splits) < 2 or splits == {"train", ""}:
        return SplitColumns(split_of=always_train, warnings=warnings)
    if line := next((line for line, row in body if not way(row)), None):
        raise DataError(
            f"{path}, line {line}: the path names no split, but other paths do.",
            hint="Add a column 'split' of train, val and test.",
        )
    return SplitColumns(split_of=way, note="The splits are those of the folders in the paths.", warnings=warnings)


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


def always_train(row: list[str]) -> str:
    """Returns ``"train"``: the table names no splits."""
    return "train"


@dataclass(frozen=True, slots=True)
class FixedSplit:
    """Puts all rows into one split."""

    split: str

    def __call__(self, row: list[str]) -> str:
        """Returns the split."""
        return self.split


@dataclass(frozen=True, slots=True)
class _NamedSplits:
    """Reads the split from a column of names."""

    place: int

    def __call__(self, row: list[str]) -> str:
        cell = cell_of(row, self.place)
        return parse_split(cell) or cell


@dataclass(frozen=True, slots=True)
class _Flags:
    """Reads the split from columns of yes and no, each for one split."""

    places: dict[int, str]

    def __call__(self, row: list[str]) -> str:
        flags = {split: parse_flag(cell_of(row, place)) for place, split in self.places.items()}
        chosen = [split for split, value in flags.items() if value]
        if len(chosen) > 1:
            return " and ".join(chosen)
        # What is not to be trained on, and belongs to no other split, is for the final test.
        return chosen[0] if chosen else "test" if "train" in flags else "train"


@dataclass(frozen=True, slots=True)
class _PathSplits:
    """Reads the split from a folder of the path: the outermost with the usual name of one, behind a common start."""

    path: int
    label: int | None
    start: int

    def __call__(self, row: list[str]) -> str:
        parts = _PATH_SEPARATOR.split(cell_of(row, self.path))[self.start : -1]
        if (
            parts and self.label is not None and parts[-1] == cell_of(row, self.label)
        ):  # the class, which may be called "train"
            parts.pop()
        names = (parse_split_name(part) for part in parts)
        return next((name.split for name in names if name is not None and name.plain), "")


def are_splits(cells: Collection[str]) -> bool:
    """Returns whether most values of a column contain names of splits, of two at least."""
    splits = [found.split for cell in cells if (found := parse_split_name(cell)) is not None]
    return len(set(splits)) > 1 and 2 * len(splits) >= len(cells)


def _are_flags(cells: Collection[str]) -> bool:
    return {parse_flag(cell) for cell in cells} == {True, False}
