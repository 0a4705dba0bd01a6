"""Acts on the findings: lists the photos to exclude, or writes a clean copy. Never changes the originals."""

from __future__ import annotations

import csv
import re
import shutil
import tempfile
from collections import deque
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from zoo.data.check.classes import fold_name
from zoo.data.check.report import SPLITS
from zoo.data.images.formats import SUFFIXES
from zoo.data.sources.exclusions import Exclusion
from zoo.data.sources.label_columns import SEPARATORS
from zoo.errors import DataError
from zoo.events import no_progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zoo.data.check.report import CheckedPhoto, DataReport, DuplicatePair
    from zoo.events import Progress

_NAME_BYTES = 150


def list_exclusions(report: DataReport) -> list[Exclusion]:
    """Returns the photos to exclude, in the order of their names.

    These are: unreadable photos; duplicates and near duplicates in different classes with all their copies, in every
    split, because the right label is unknown; of other duplicates and near duplicates in two splits, the one in train
    rather than in validation, and in validation rather than in test, so that evaluation stays comparable with the
    results of others; of other identical files in one split all but one. These stay: near duplicates within a split,
    and photos in two classes that only look the same if one is mirrored or turned. Near duplicates with different sets
    of labels are near duplicates like others, because both sets may be right.
    """
    excluded: dict[str, Exclusion] = {}
    for photo in report.photos:
        if photo.error:
            excluded[photo.name] = Exclusion(photo.name, photo.split, photo.label, "unreadable")
    found = [pair for finding in report.findings for pair in finding.pairs if not pair.turned_label]
    pairs = sorted(found, key=lambda pair: (pair.duplicate.name, pair.distance or 0, pair.original.name))
    conflicts = [pair for pair in pairs if pair.two_labels and (pair.exact or not report.multi_label)]
    for each in [
        *_exclude_two_labels(pairs, conflicts),
        *(_exclude_duplicate(pair) for pair in pairs if _is_redundant(pair)),
    ]:
        excluded.setdefault(each.name, each)
    return sorted(excluded.values())


def write_clean_copy(report: DataReport, folder: Path, *, progress: Progress = no_progress) -> Path:
    """Copies the remaining photos into a new folder, as FOLDER/split/class/photo, with the splits of the check.

    Photos with several labels are copied as FOLDER/split/photo, and FOLDER/labels.csv lists them with their labels.
    Files with a wrong extension get the suffix of their format. Classes whose names differ only in case, spaces or
    dashes are merged under the name in train.

    Args:
        report: The result of `zoo.data.check.examine.check_images`.
        folder: Must not exist, or must be empty.
        progress: Called as photos are copied.

    Raises:
        DataError: The folder is not empty or not writable, a class name cannot be a folder name, or a photo no longer
            exists. The folder is then unchanged.
    """
    check_copy_target(folder)
    excluded = {each.name for each in list_exclusions(report)}
    remaining = [photo for photo in report.photos if photo.name not in excluded]
    names = _class_names(report)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as aside:
            root = Path(aside) / "copy"
            root.mkdir()
            rows = []
            for number, photo in enumerate(remaining, start=1):
                labels = sorted({names[label] for label in photo.labels})
                copy = _copy(photo, root / photo.split / ("" if report.multi_label else labels[0]))
                rows.append((copy.relative_to(root).as_posix(), photo.split, labels))
                progress("copy photos", number, len(remaining))
            if report.multi_label:
                _write_table(root / "labels.csv", rows)
            if folder.exists():
                folder.rmdir()
            root.rename(folder)
    except OSError as error:
        raise DataError(
            f"The clean copy {folder} cannot be written: {error.strerror or error}.", hint="Is the disk full?"
        ) from error
    return folder


def check_copy_target(folder: Path) -> None:
    """Checks that `write_clean_copy` may write to a folder; raises as `write_clean_copy` does."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} is not empty.", hint="Pass a new folder for the copy.")


def _exclude_two_labels(pairs: Sequence[DuplicatePair], conflicts: Sequence[DuplicatePair]) -> Iterator[Exclusion]:
    """Yields the photos with two labels, then copies of these with one label, and so on; some of them repeatedly."""
    copies: dict[str, list[tuple[CheckedPhoto, CheckedPhoto]]] = {}
    waiting: deque[tuple[CheckedPhoto, CheckedPhoto]] = deque()
    for original, duplicate in (pair[:2] for pair in pairs):
        copies.setdefault(original.name, []).append((duplicate, original))
        copies.setdefault(duplicate.name, []).append((original, duplicate))
    for original, duplicate in (pair[:2] for pair in conflicts):
        waiting += [(original, duplicate), (duplicate, original)]
    while waiting:
        photo, other = waiting.popleft()
        yield Exclusion(photo.name, photo.split, photo.label, "two labels", other.name)
        waiting += copies.pop(photo.name, [])


def _is_redundant(pair: DuplicatePair) -> bool:
    return pair.exact or pair.original.split != pair.duplicate.split


def _exclude_duplicate(pair: DuplicatePair) -> Exclusion:
    original, duplicate = pair.original, pair.duplicate
    reason = f"{'duplicate' if pair.exact else 'near duplicate'} in {original.split}"
    return Exclusion(duplicate.name, duplicate.split, duplicate.label, reason, original.name)


def _class_names(report: DataReport) -> dict[str, str]:
    """Returns the folder name of each class: of names that fold to one, the one with the most photos in train."""
    chosen: dict[str, str] = {}
    for split in reversed(SPLITS):
        for name, count in sorted(report.counts.get(split, {}).items(), key=lambda each: -each[1]):
            if count:
                chosen.setdefault(fold_name(name), name)
    names = {label: chosen[fold_name(label)].strip() for photo in report.photos for label in photo.labels}
    for name in () if report.multi_label else names.values():
        if name in ("", ".", "..") or name.startswith(".") or set(name) & set("/\\\0"):
            raise DataError(
                f"The class {name!r} cannot be the name of a folder.", hint="Use --fix, which writes a list."
            )
    return names


def _write_table(target: Path, rows: Sequence[tuple[str, str, Sequence[str]]]) -> None:
    """Writes the paths, splits and labels of photos as a table that `zoo.data.sources.table.read_csv` reads."""
    labels = {label for _, _, each in rows for label in each}
    separator = next((mark for mark in SEPARATORS if not any(mark in label for label in labels)), "")
    if not separator:
        raise DataError(
            f"Labels contain {' and '.join(SEPARATORS)}, so neither can separate them in a table.",
            hint="Rename the labels, or use --fix, which writes a list.",
        )
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "split", "labels"))
        writer.writerows((path, split, separator.join(each)) for path, split, each in rows)


def _copy(photo: CheckedPhoto, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    target = _unused_path(folder, _file_name(photo))
    if isinstance(photo.source, bytes):
        target.write_bytes(photo.source)
    else:
        shutil.copyfile(photo.source, target)
    return target


def _file_name(photo: CheckedPhoto) -> str:
    name = re.sub(r"[^\w .()+,@~-]", "_", PurePath(photo.name).name).lstrip(". ") or "photo"
    stem, suffix = PurePath(name).stem, PurePath(name).suffix
    if photo.header is not None and photo.header.has_wrong_suffix(name):
        suffix = SUFFIXES[photo.header.format][0]
    return stem.encode()[:_NAME_BYTES].decode(errors="ignore") + suffix


def _unused_path(folder: Path, name: str) -> Path:
    """Returns a path in a folder that does not exist: photos from several folders may share a name."""
    path, number = folder / name, 1
    while path.exists():
        number += 1
        path = folder / f"{PurePath(name).stem}-{number}{PurePath(name).suffix}"
    return path
