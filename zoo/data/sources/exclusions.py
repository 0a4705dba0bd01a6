"""Exclusion lists: photos to leave out of a dataset. ``zoo data check --fix`` writes them, training applies them."""

from __future__ import annotations

import csv
import dataclasses
import io
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.errors import DataError
from zoo.plugins.specs import SPLITS
from zoo.utils.csv_rows import CsvWriter, unquote_formula
from zoo.utils.files import atomic_write, read_regular_file
from zoo.utils.paths import missing_path_advice

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from zoo.plugins.specs import ImageSet, Sample

_HEADER = ("name", "split", "class", "reason", "same as")
_OLD_HEADER = ("name", "part", "class", "reason", "same as")  # of earlier versions
_HINT = "Each line starts with the name of a photo, as in the lists of 'zoo data check --fix'."


class Exclusion(NamedTuple):
    """A photo to leave out.

    Attributes:
        name: Name of its sample.
        split: The split that contains it.
        label: Name of its class, or of its labels.
        reason: Why it is left out, in a few words.
        duplicate_of: Name of the photo that it duplicates, or empty.
    """

    name: str
    split: str = ""
    label: str = ""
    reason: str = ""
    duplicate_of: str = ""


def write_exclusions(target: Path, exclusions: Iterable[Exclusion]) -> Path:
    """Writes a list as CSV, atomically. Replaces an earlier exclusion list, but no other file.

    Raises:
        DataError: `target` exists and is not an exclusion list.
        RunError: The file cannot be written.
    """
    check_list_target(target)
    text = io.StringIO()
    writer = CsvWriter(text)
    for row in (_HEADER, *exclusions):
        writer.write_row(row)
    with atomic_write(target) as aside:
        aside.write_bytes(text.getvalue().encode("utf-8", "backslashreplace"))
    return target


def check_list_target(target: Path) -> None:
    """Checks that `write_exclusions` may write to a file; raises as `write_exclusions` does."""
    if target.exists() and not _is_list(target):
        raise DataError(
            f"{target} already exists and is not an exclusion list.", hint="Pass another name with --fix-list."
        )


def read_exclusions(path: Path) -> dict[str, str]:
    """Returns the names on a list, each with its reason.

    Names are in the first column; reasons are in the column ``reason`` if the header has one. A plain file with one
    name per line is a valid list too.

    Raises:
        DataError: The list cannot be read.
    """
    try:
        text = read_regular_file(path).decode("utf-8-sig")  # no newline translation: a name may contain a line break
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row and row[0].strip()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        hint = missing_path_advice(path) or _HINT
        raise DataError(f"The exclusion list {path} cannot be read ({reason}).", hint=hint) from None
    if rows and rows[0][0] == _HEADER[0]:
        header, *rows = rows
        column = header.index("reason") if "reason" in header else len(header)
        return {unquote_formula(row[0]): row[column] if column < len(row) else "" for row in rows}
    return {row[0]: "" for row in rows}


def apply_exclusions(images: ImageSet, exclusions: Mapping[str, str]) -> ImageSet:
    """Returns a dataset without the listed photos, and adds their names to `ImageSet.skipped`.

    Call it after splitting: the remaining photos then stay in their splits.

    Raises:
        DataError: A class has no training photos left.
    """
    splits = {split: getattr(images, split) for split in SPLITS}
    excluded = [sample.name for samples in splits.values() for sample in samples if sample.name in exclusions]
    if not excluded:
        return images
    remaining: dict[str, Any] = {
        split: tuple(sample for sample in samples if sample.name not in exclusions) for split, samples in splits.items()
    }
    check_classes_remain(images, remaining["train"], what="The exclusion list")
    skipped = [f"{name}: excluded" + (f", {exclusions[name]}" if exclusions[name] else "") for name in excluded]
    return dataclasses.replace(images, **remaining, skipped=(*images.skipped, *skipped))


def check_classes_remain(images: ImageSet, train: Collection[Sample], *, what: str) -> None:
    """Checks that every class that has training photos keeps some.

    Args:
        images: The dataset.
        train: Its training photos after a change.
        what: What changes them, for messages.

    Raises:
        DataError: A class has none left.
    """
    before, after = ({label for sample in samples for label in sample.labels} for samples in (images.train, train))
    for label, name in enumerate(images.classes):
        if label in before - after:
            kind = "label" if images.multi_label else "class"
            raise DataError(
                f"{what} leaves the {kind} '{name}' of '{images.name}' without training photos.",
                hint="Add photos, or remove some from the list.",
            )


def _is_list(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError:
        return False
    return any(start.startswith(",".join(header).encode()) for header in (_HEADER, _OLD_HEADER))
