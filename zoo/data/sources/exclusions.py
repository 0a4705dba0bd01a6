"""Lists of photos to be left out: written by the dataset doctor or by hand, honoured by every training."""

from __future__ import annotations

import csv
import dataclasses
import io
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.errors import DataError
from zoo.utils.files import atomic_write, read_plain

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from zoo.plugins.specs import ImageSet, Sample

_HEADER = ("name", "part", "class", "reason", "same as")
_HINT = "A line begins with the name of a photo, as 'zoo data check' writes it; more may follow behind a comma."


class Exclusion(NamedTuple):
    """A photo that is to be left out.

    Attributes:
        name: As its sample has it.
        part: Where it is.
        label: Its class.
        reason: Why, in a word or two.
        twin: Name of the photo that stays in its place, or empty.
    """

    name: str
    part: str = ""
    label: str = ""
    reason: str = ""
    twin: str = ""


def write_exclusions(target: Path, exclusions: Iterable[Exclusion]) -> Path:
    """Writes a list as CSV, whole or not at all; a list that is there already is replaced, any other file never.

    Raises:
        DataError: There is a file of that name which is no such list.
        RunError: It cannot be written.
    """
    check_list_target(target)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_HEADER)
    writer.writerows(exclusions)
    with atomic_write(target) as aside:
        aside.write_bytes(text.getvalue().encode())
    return target


def check_list_target(target: Path) -> None:
    """Checks that a list may be written to a file; raises as `write_exclusions`."""
    if target.exists() and not _is_list(target):
        raise DataError(
            f"{target} is there already, and no list of exclusions.", hint="Give the list another name with --fix-list."
        )


def read_exclusions(path: Path) -> dict[str, str]:
    """Returns the names that a list has, each with its reason.

    The first column counts; the column ``reason`` is read where the header has it. A file of one name a line will do.

    Raises:
        DataError: The list cannot be read.
    """
    try:
        text = read_plain(path).decode("utf-8-sig")  # as it is: a name may hold a line break
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row and row[0].strip()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"The list of exclusions {path} cannot be read ({reason}).", hint=_HINT) from None
    if rows and rows[0][0] == _HEADER[0]:
        header, *rows = rows
        place = header.index("reason") if "reason" in header else len(header)
        return {row[0]: row[place] if place < len(row) else "" for row in rows}
    return {row[0]: "" for row in rows}


def apply_exclusions(images: ImageSet, listed: Mapping[str, str]) -> ImageSet:
    """Returns a dataset without the listed photos, which are named in `ImageSet.skipped` instead.

    Do so after its parts were made: the photos that are left stay in the part they were in.

    Raises:
        DataError: A class is left without training photos.
    """
    parts = {part: getattr(images, part) for part in ("train", "val", "test")}
    if not any(sample.name in listed for samples in parts.values() for sample in samples):
        return images
    kept: dict[str, Any] = {
        part: tuple(sample for sample in samples if sample.name not in listed) for part, samples in parts.items()
    }
    _check_classes(images, kept["train"])
    gone = [sample.name for samples in parts.values() for sample in samples if sample.name in listed]
    skipped = [f"{name}: excluded" + (f", {listed[name]}" if listed[name] else "") for name in gone]
    return dataclasses.replace(images, **kept, skipped=(*images.skipped, *skipped))


def _check_classes(images: ImageSet, train: Collection[Sample]) -> None:
    before, after = {sample.label for sample in images.train}, {sample.label for sample in train}
    for label, name in enumerate(images.classes):
        if label in before - after:
            raise DataError(
                f"Without the excluded photos the class '{name}' of '{images.name}' has none to train on.",
                hint="Add photos, or take some off the list.",
            )


def _is_list(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(64).startswith(",".join(_HEADER).encode())
    except OSError:
        return False
