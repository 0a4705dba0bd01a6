"""Reads which photos belong together, such as those of one patient, camera or day: they stay in one split.

Groups are given by the dataset itself, by a column of its table, or by a manifest: a CSV file of path,group.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.data.sources.known_photos import KnownPhotos, find_path_columns
from zoo.data.sources.table_rows import fold_header, read_rows
from zoo.errors import DataError, did_you_mean
from zoo.plugins.specs import SPLITS
from zoo.utils.paths import missing_path_advice, parse_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from zoo.data.sources.resolve import DataSource
    from zoo.plugins.specs import ImageSet

AUTO, NONE = "auto", "none"
_HEADERS = ("group", "group_id")
_HINT = (
    "Each line is path,group. Paths are relative to the data or to the CSV file; a header names the columns: "
    "path and group."
)
_OPTION_HINT = "Pass a CSV file of path,group, or if the data is a table the name of one of its columns."


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTable:
    """A table of groups: a manifest, or the table of the data itself.

    Attributes:
        path: The CSV file.
        paths: The columns that may hold the path.
        group: The column of the group.
        header: Whether the first row names the columns.
        complete: Whether it lists photos of the data alone; then no line is wrong.
    """

    path: Path
    paths: tuple[int, ...]
    group: int
    header: bool = True
    complete: bool = False

    def rows(self) -> Iterator[tuple[int, list[str], str]]:
        """Yields line number, possible paths and group of each row."""
        for number, (line, row) in enumerate(read_rows(self.path, hint=_HINT)):
            if number or not self.header:
                yield line, [_cell(row, place) for place in self.paths], _cell(row, self.group)


def find_group_table(groups: str, source: DataSource) -> GroupTable | None:
    """Returns the table that the option ``groups`` refers to; None if there is none.

    Args:
        groups: ``"auto"``: the column ``group`` of a table; ``"none"``; a CSV file; or a column of the table.
        source: The data.

    Raises:
        DataError: There is no such file or column, or the file does not have the columns.
    """
    if groups == NONE:
        return None
    table = source.path if source.is_table else None
    if table is not None:
        header = _read_header(table)
        names = _HEADERS if groups == AUTO else (groups, fold_header(groups))
        if found := [place for place, cell in enumerate(header) if cell in names or fold_header(cell) in names]:
            return GroupTable(path=table, paths=find_path_columns(header) or (0,), group=found[0], complete=True)
    if groups == AUTO:
        return None
    path = parse_path(groups)
    if not path.is_file():
        raise _missing(groups, table)
    return _find_columns(path)


def apply_groups(images: ImageSet, groups: str, table: GroupTable | None) -> ImageSet:
    """Returns `images` with the groups of a table; without one, with those that they have, or with none.

    Photos that a table does not list, or for which it has no group, are groups of their own, and a warning counts them.

    Args:
        images: A dataset as it was loaded.
        groups: The option; ``"none"`` removes the groups of the dataset.
        table: What `find_group_table` returned.

    Raises:
        DataError: The table names a photo that is not in the data, or two groups for one photo, or all photos are in
            one group. The message has the line.
    """
    if groups == NONE:
        return _with_groups(images, {})
    found = None if table is None else _read_groups(images, table)
    grouped = images if found is None else _with_groups(images, found)
    samples = [sample for split in SPLITS for sample in getattr(grouped, split)]
    names = {sample.group or None for sample in samples}
    where = images.name if table is None else str(table.path)
    if len(names) == 1 and None not in names and len(samples) > 1:
        raise DataError(
            f"{where}: all {len(samples)} photos are in the group '{samples[0].group}', which cannot be divided.",
            hint="Name smaller groups, or ignore them with --groups none.",
        )
    without = sum(not sample.group for sample in samples)
    if table is None or not without:
        return grouped
    text = f"{without} of {len(samples)} photos have no group in {where}: each of them is a group of its own."
    return dataclasses.replace(grouped, warnings=(*grouped.warnings, text))


def _read_groups(images: ImageSet, table: GroupTable) -> dict[str, str]:
    """Returns the group of each photo by its name."""
    known = KnownPhotos(images, table.path.parent)
    found: dict[str, tuple[str, int]] = {}
    for line, paths, group in table.rows():
        name = next(filter(None, map(known.find, paths)), "")
        if not name:
            if table.complete or any(map(known.is_left_out, paths)):
                continue
            shown = next(filter(None, paths), "")
            raise DataError(
                f"{table.path}, line {line}: there is no photo '{shown}' in the data.",
                hint=did_you_mean(shown, known.names) or _HINT,
            )
        other, earlier = found.setdefault(name, (group, line))
        if other != group:
            raise DataError(
                f"{table.path}, line {line}: {name} is in the group '{group}', but in '{other}' in line {earlier}.",
                hint="Delete one of the two: a photo is in one group.",
            )
    return {name: group for name, (group, _) in found.items()}


def _find_columns(path: Path) -> GroupTable:
    """Returns the columns of a manifest: by their names, or path and group in this order if there is no header."""
    header = _read_header(path)
    paths = find_path_columns(header)
    named = [place for place, cell in enumerate(header) if fold_header(cell) in _HEADERS]
    if not paths and not named and len(header) == 2:
        return GroupTable(path=path, paths=(0,), group=1, header=False)
    others = [place for place in range(len(header)) if place not in paths]
    group = named or (others if paths and len(header) == 2 else [])
    if not paths or not group:
        missing, names = "path" if not paths else "group", ", ".join(f"'{cell}'" for cell in header)
        raise DataError(f"{path}, line 1: no column is named {missing}; the header has {names}.", hint=_HINT)
    return GroupTable(path=path, paths=paths, group=group[0])


def _read_header(path: Path) -> list[str]:
    first = next(read_rows(path, hint=_HINT), None)
    if first is None:
        raise DataError(f"{path} has no lines.", hint=_HINT)
    return first[1]


def _missing(groups: str, table: Path | None) -> DataError:
    advice = missing_path_advice(groups)
    if table is None:
        return DataError(f"There is no file {groups} of groups.", hint=advice or _OPTION_HINT)
    header = _read_header(table)
    near = did_you_mean(groups, header)
    return DataError(
        f"{table} has no column '{groups}', and there is no file of that name.",
        hint=near or f"The columns: {', '.join(header)}.",
    )


def _with_groups(images: ImageSet, groups: dict[str, str]) -> ImageSet:
    splits: dict[str, Any] = {
        split: tuple(sample._replace(group=groups.get(sample.name, "")) for sample in getattr(images, split))
        for split in SPLITS
    }
    return dataclasses.replace(images, **splits)


def _cell(row: Sequence[str], place: int) -> str:
    return row[place] if place < len(row) else ""
