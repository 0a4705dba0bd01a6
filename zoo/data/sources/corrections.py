"""Corrections: labels that replace those of a dataset, from a CSV file of path,label. No file of it changes."""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.data.sources.exclusions import check_classes_remain
from zoo.data.sources.known_photos import KnownPhotos, find_path_columns
from zoo.data.sources.label_columns import LABEL_HEADERS, SEPARATORS
from zoo.data.sources.table_rows import cell_of, fold_header, read_rows
from zoo.errors import DataError, did_you_mean
from zoo.plugins.specs import SPLITS
from zoo.utils.csv_rows import CsvWriter, unquote_formula
from zoo.utils.files import atomic_write
from zoo.utils.paths import missing_path_advice

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from zoo.plugins.specs import ImageSet

_HEADER = ("path", "label", "split", "old label", "reason")
_PATH_HEADERS, _LABEL_HEADERS = ("name",), (*LABEL_HEADERS, "labels")
_HINT = (
    "Each line is path,label. Paths are relative to the data or to the CSV file, or absolute; a header names the "
    "columns: path and label."
)


class Correction(NamedTuple):
    """A label that replaces another.

    Attributes:
        name: Name of the photo in its dataset.
        label: Name of its class.
        split: The split that contains it.
        old: Name of the class that it is labelled as.
        reason: Why, in a few words.
    """

    name: str
    label: str
    split: str = ""
    old: str = ""
    reason: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class CorrectionTable:
    """The lines of a file of corrections.

    Attributes:
        path: The file.
        rows: Line number, path and label of each.
    """

    path: Path
    rows: tuple[tuple[int, str, str], ...]


def write_corrections(target: Path, corrections: Iterable[Correction]) -> Path:
    """Writes a file of corrections, atomically. Replaces an earlier one, but no other file.

    Raises:
        DataError: `target` exists and is not such a file.
        RunError: The file cannot be written.
    """
    check_corrections_target(target)
    text = io.StringIO()
    writer = CsvWriter(text)
    for row in (_HEADER, *corrections):
        writer.write_row(row)
    with atomic_write(target) as aside:
        aside.write_bytes(text.getvalue().encode("utf-8", "backslashreplace"))
    return target


def check_corrections_target(target: Path) -> None:
    """Checks that `write_corrections` may write to a file; raises as `write_corrections` does."""
    if target.exists() and not _is_written(target):
        raise DataError(f"{target} already exists and has no corrections.", hint="Pass another file name.")


def read_corrections(path: Path) -> CorrectionTable:
    """Reads a file of corrections: of path,label, or with a header that names these columns among others.

    Raises:
        DataError: The file cannot be read, has no lines, or lacks a column.
    """
    if not path.is_file():
        raise DataError(f"There is no file {path} of corrected labels.", hint=missing_path_advice(path) or _HINT)
    rows = list(read_rows(path, hint=_HINT))
    if not rows:
        raise DataError(f"{path} has no lines.", hint=_HINT)
    header = rows[0][1]
    paths = find_path_columns(header) or _find(header, _PATH_HEADERS)
    labels = _find(header, _LABEL_HEADERS)
    if not paths and not labels and len(header) == 2:
        paths, labels = (0,), (1,)
    elif not paths or not labels:
        missing, names = "path" if not paths else "label", ", ".join(f"'{cell}'" for cell in header)
        raise DataError(f"{path}, line 1: no column is named {missing}; the header has {names}.", hint=_HINT)
    else:
        rows = rows[1:]
    return CorrectionTable(path, tuple((line, cell_of(row, paths[0]), cell_of(row, labels[0])) for line, row in rows))


def find_corrections(images: ImageSet, table: CorrectionTable) -> dict[str, int | tuple[int, ...]]:
    """Returns the labels that a table gives, by the names of photos; of files that were left out, none.

    Args:
        images: The whole dataset.
        table: The table.

    Raises:
        DataError: The table names a photo or a class that is not in the data, or two labels for one photo. The message
            has the line.
    """
    known = KnownPhotos(images, table.path.parent)
    label_of = {name: number for number, name in enumerate(images.classes)}
    found: dict[str, tuple[int | tuple[int, ...], str, int]] = {}
    for line, path, text in table.rows:
        where = f"{table.path}, line {line}"
        name = known.find(path) or known.find(unquote_formula(path))
        if not name:
            if known.is_left_out(path):
                continue
            raise DataError(
                f"{where}: there is no photo '{path}' in the data.", hint=did_you_mean(path, known.names) or _HINT
            )
        label = _read_label(text, label_of, images, where)
        other, shown, earlier = found.setdefault(name, (label, text, line))
        if other != label:
            raise DataError(
                f"{where}: the label of {name} is '{text}', but '{shown}' in line {earlier}.",
                hint="Delete one of the two lines.",
            )
    return {name: label for name, (label, _, _) in found.items()}


def apply_corrections(images: ImageSet, labels: dict[str, int | tuple[int, ...]], *, source: Path) -> ImageSet:
    """Returns a dataset with other labels; `ImageSet.corrected` counts those that changed.

    Call it after splitting: every photo then stays in its split, whatever its label was.

    Args:
        images: The dataset.
        labels: The result of `find_corrections`.
        source: The file, for messages.

    Raises:
        DataError: A class has no training photos left.
    """
    splits: dict[str, Any] = {
        split: tuple(sample._replace(label=labels.get(sample.name, sample.label)) for sample in getattr(images, split))
        for split in SPLITS
    }
    check_classes_remain(images, splits["train"], what=str(source))
    changed = sum(
        before.label != after.label
        for split in SPLITS
        for before, after in zip(getattr(images, split), splits[split], strict=True)
    )
    return dataclasses.replace(images, **splits, corrected=images.corrected + changed)


def correct_labels(images: ImageSet, table: CorrectionTable | None) -> ImageSet:
    """Returns a dataset with the labels of a table, or as it is if there is none; raises as the two steps do."""
    if table is None:
        return images
    return apply_corrections(images, find_corrections(images, table), source=table.path)


def describe_corrections(images: ImageSet, table: CorrectionTable) -> str:
    """Returns how many labels of a dataset a table changed: ``"3 labels changed of 4 listed in labels.csv."``."""
    count = images.corrected
    return f"{count:,} label{'' if count == 1 else 's'} changed of {len(table.rows):,} listed in {table.path}."


def _read_label(text: str, label_of: dict[str, int], images: ImageSet, where: str) -> int | tuple[int, ...]:
    """Returns the label of a cell; of multi-label data any number of labels, separated as in tables."""
    if not images.multi_label:
        return _find_class(text, label_of, where)
    separator = next((mark for mark in SEPARATORS if mark in text and text not in label_of), "")
    parts = text.split(separator) if separator else [text]
    return tuple(sorted({_find_class(part.strip(), label_of, where) for part in parts if part.strip()}))


def _find_class(text: str, label_of: dict[str, int], where: str) -> int:
    for name in (text, unquote_formula(text)):
        if name in label_of:
            return label_of[name]
    hint = did_you_mean(text, label_of) or f"The classes: {', '.join(label_of)}."
    raise DataError(f"{where}: there is no class '{text}' in the data.", hint=hint)


def _find(header: Sequence[str], names: Sequence[str]) -> tuple[int, ...]:
    return tuple(place for place, cell in enumerate(header) if fold_header(cell) in names)


def _is_written(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(64).startswith(",".join(_HEADER).encode())
    except OSError:
        return False
