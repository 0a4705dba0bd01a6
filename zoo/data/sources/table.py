"""Reads a CSV file of photos with their labels and perhaps their splits."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, NamedTuple

from zoo.data.sources.folder import LabelledFiles, build_image_set, slugify
from zoo.data.sources.label_columns import SEVERAL_HINT, TableOptions
from zoo.data.sources.label_sets import LabelledPhoto, build_label_sets, check_label_names
from zoo.data.sources.left_out import LostFile
from zoo.data.sources.split_columns import FixedSplit, SplitColumns
from zoo.data.sources.split_names import parse_split
from zoo.data.sources.table_columns import TableColumns, find_columns
from zoo.data.sources.table_rows import TABLE_FORM, cell_of
from zoo.data.sources.walk import UNLABELLED, SkippedFile, escape_undecodable, judge_suffix
from zoo.errors import DataError
from zoo.plugins.specs import SPLITS
from zoo.utils.paths import missing_path_advice

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from zoo.plugins.specs import ImageSet


class _Row(NamedTuple):
    """A photo as a table lists it; labels are None where their cells are empty."""

    table: Path
    line: int
    file: Path
    name: str
    split: str
    labels: tuple[str, ...] | None

    @property
    def where(self) -> str:
        return f"{self.table}, line {self.line}"


def read_csv(
    path: Path,
    *,
    strict: bool = True,
    known: Collection[str] | None = None,
    options: TableOptions | None = None,
) -> ImageSet:
    """Reads a table of images: path, label or labels, and optionally split (train, val or test).

    Paths are relative to the CSV file. With a header of known names the columns may be in any order, among others;
    without one the order is path, label, split. The split may also be in columns of yes and no, such as ``is_valid``,
    and in any column whose values are all names of splits. Fields are separated by commas, semicolons or tabs. The text
    is UTF-8. Rows of the test split without a label are left out with a note.

    A photo may have several labels, or none, if a column ``labels`` or ``tags`` has separators, if columns of 0 and 1
    are the labels, or if `options` say so: see `zoo.data.sources.label_columns.TableOptions`. Such a table named for
    the training split is read together with those beside it that are named for the others: ``train.csv``, ``test.csv``.

    Args:
        path: The table.
        strict: As in `zoo.data.sources.folder.build_image_set`; if False, missing files are listed like any others.
        known: As in `zoo.data.sources.folder.build_image_set`.
        options: How to read the labels.

    Raises:
        DataError: The table cannot be read, a file is missing or listed twice, its columns may be meant in two ways, or
            the classes are inconsistent (see `zoo.data.sources.folder.build_image_set`). The message names the line.
    """
    options = options or TableOptions()
    columns = find_columns(path, options)
    if known is not None and not columns.has_splits:
        columns = dataclasses.replace(columns, splits=SplitColumns(split_of=FixedSplit("test")))
    others = {} if columns.has_splits or known is not None else _find_other_splits(path)
    if columns.labels.multi_label:
        tables = {path: columns, **_open_others(path, columns, others, options)}
        images = _read_label_sets(tables, strict=strict, known=known)
        unread: tuple[str, ...] = ()
    else:
        images = _read_classes(path, columns, strict=strict, known=known)
        unread = tuple(f"{other.name} beside {path.name} is not read." for other in others.values())
    notes = (columns.labels.note, columns.splits.note, images.note)
    warnings = (*columns.labels.warnings, *columns.splits.warnings, *unread, *images.warnings)
    return dataclasses.replace(images, note=" ".join(filter(None, notes)), warnings=warnings)


def _read_classes(path: Path, columns: TableColumns, *, strict: bool, known: Collection[str] | None) -> ImageSet:
    """Reads a table of photos with one label each."""
    labelled: LabelledFiles = {}
    skipped: list[LostFile] = []
    listed: dict[str, _Row] = {}
    for row in _read_rows(path, columns, strict=strict):
        if (earlier := listed.setdefault(os.path.normpath(row.file), row)) is not row:
            raise _repeated(row, earlier)
        label = row.labels[0] if row.labels else ""
        if reason := judge_suffix(row.file.name) if label else UNLABELLED:
            skipped.append(LostFile(SkippedFile(row.file, row.name, reason, 1), row.split, label))
        files = labelled.setdefault(row.split, {}).setdefault(label, []) if label else []
        files += [] if reason else [(row.file, row.name)]
    if known is None and "train" not in labelled:
        raise DataError(f"{path} lists no images of the split 'train'.", hint=TABLE_FORM)
    return build_image_set(
        name=slugify(path.stem), labelled=labelled, skipped=skipped, where=str(path), strict=strict, known=known
    )


def _read_label_sets(tables: Mapping[Path, TableColumns], *, strict: bool, known: Collection[str] | None) -> ImageSet:
    """Reads photos with several labels each from a table, or from one table for each split."""
    path, columns = next(iter(tables.items()))
    photos: dict[str, tuple[_Row, LabelledPhoto]] = {}
    for table, each in tables.items():
        for row in _read_rows(table, each, strict=strict):
            key = os.path.normpath(row.file)
            earlier, photo = photos.setdefault(
                key,
                (row, LabelledPhoto(where=row.where, file=row.file, name=row.name, split=row.split, labels=row.labels)),
            )
            if earlier is not row:
                _add_labels(photo, row, earlier, repeats=columns.labels.repeats)
            check_label_names(photo)
    images = build_label_sets(
        [photo for _, photo in photos.values()],
        name=slugify(path.stem if len(tables) == 1 else path.resolve().parent.name),
        where=str(path),
        names=columns.labels.names or (),
        empty_means_none=columns.labels.may_be_empty,
        strict=strict,
        known=known,
    )
    if len(tables) == 1:
        return images
    note = f"The splits are those of {' and '.join(table.name for table in tables)}."
    return dataclasses.replace(images, note=" ".join(filter(None, (note, images.note))))


def _add_labels(photo: LabelledPhoto, row: _Row, earlier: _Row, *, repeats: bool) -> None:
    """Adds the labels of a row to those that earlier rows have given the same photo."""
    if not repeats:
        raise _repeated(row, earlier)
    if row.split != earlier.split:
        raise DataError(
            f"{row.where}: {row.file.name} is in the split '{row.split}', but in '{earlier.split}' in "
            f"{_place(earlier, row)}.",
            hint="A photo is in one split: correct one of the two.",
        )
    if not row.labels or not photo.labels:
        raise DataError(
            f"{row.where}: {row.file.name} is also listed in {_place(earlier, row)}, and one of the two has no label.",
            hint="Delete the row without a label, or the other one if the photo has none.",
        )
    photo.where, photo.labels = row.where, (*photo.labels, *row.labels)


def _repeated(row: _Row, earlier: _Row) -> DataError:
    return DataError(
        f"{row.where}: {row.file.name} is already listed in {_place(earlier, row)}.",
        hint="Delete one of the two; or, if each row is one label of a photo that may have several, pass "
        "--data-option multi-label=yes.",
    )


def _place(earlier: _Row, row: _Row) -> str:
    return f"line {earlier.line}" if earlier.table == row.table else earlier.where


def _find_other_splits(path: Path) -> dict[str, Path]:
    """Returns the tables of the other splits beside a table that is named for the training split: ``test.csv``.

    Raises:
        DataError: Two are named for the same split.
    """
    if parse_split(path.stem) != "train":
        return {}
    found: dict[str, Path] = {}
    for other in sorted(path.parent.glob("*.csv")):
        split = parse_split(other.stem)
        if split in ("val", "test") and split in found:
            raise DataError(
                f"{found[split]} and {other.name} are both named for the {split} split.", hint="Move one of the two."
            )
        if split in ("val", "test"):
            found[split] = other
    return found


def _open_others(
    path: Path, columns: TableColumns, others: Mapping[str, Path], options: TableOptions
) -> dict[Path, TableColumns]:
    """Returns the tables of other splits with their columns, which must be those of the table of the training split.

    Raises:
        DataError: They are not.
    """
    options = dataclasses.replace(options, multi_label="yes", separator=columns.labels.separator or options.separator)
    found = {}
    for split, other in others.items():
        each = find_columns(other, options)
        missing = sorted({*(columns.labels.names or ())} - {*(each.labels.names or ())})
        if missing or (columns.labels.names is None) != (each.labels.names is None):
            what = f"no column '{missing[0]}'" if missing else "other columns of labels"
            raise DataError(
                f"{other} has {what}, unlike {path.name}, with which it is read.",
                hint=f"Give both the same columns, or move {other.name} elsewhere.",
            )
        if each.has_splits:
            raise DataError(
                f"{other} names splits of its own, but is read as the {split} split beside {path.name}.",
                hint="List all photos in one table with a column 'split', or delete that column.",
            )
        splits = SplitColumns(split_of=FixedSplit(split))
        found[other] = dataclasses.replace(
            each, splits=splits, labels=dataclasses.replace(each.labels, repeats=columns.labels.repeats)
        )
    return found


def _read_rows(path: Path, columns: TableColumns, *, strict: bool) -> Iterator[_Row]:
    """Yields the photos of a table, checked one by one."""
    for line, cells in columns.body:
        where = f"{path}, line {line}"
        file, split = cell_of(cells, columns.path), columns.splits.split_of(cells)
        if not file:
            raise DataError(f"{where}: the path is missing.", hint=TABLE_FORM)
        labels = columns.labels.read(where, cells)
        if labels is None and split != "test" and not columns.labels.may_be_empty:
            raise DataError(f"{where}: the label is missing.", hint=f"{TABLE_FORM} {SEVERAL_HINT}")
        if not split:
            raise DataError(f"{where}: the split is missing.", hint=TABLE_FORM)
        if split not in SPLITS:
            column = f" in the column '{columns.splits.header}'" if columns.splits.header else ""
            raise DataError(f"{where}: unknown split '{split}'{column}.", hint=TABLE_FORM)
        found = path.parent / file
        if strict and not os.path.isfile(found):  # noqa: PTH113  pathlib raises where a name is too long
            raise DataError(f"{where}: there is no file {found}.", hint=missing_path_advice(found) or TABLE_FORM)
        yield _Row(path, line, found, _sample_name(found, path.parent), split, labels)


def _sample_name(file: Path, folder: Path) -> str:
    return escape_undecodable((file.relative_to(folder) if file.is_relative_to(folder) else file).as_posix())
