"""Acts on the findings: lists the photos to exclude, or writes a clean copy. Never changes the originals."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from zoo.data.check.classes import fold_name
from zoo.data.check.report import SPLITS
from zoo.data.images.formats import SUFFIXES
from zoo.data.sources.exclusions import Exclusion
from zoo.errors import DataError
from zoo.events import no_progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zoo.data.check.report import CheckedPhoto, DataReport, DuplicatePair
    from zoo.events import Progress

_NAME_BYTES = 150


def list_exclusions(report: DataReport) -> list[Exclusion]:
    """Returns the photos to exclude, in the order of their names.

    These are: unreadable photos; identical files in different classes, all of them in every split, because the right
    label is unknown; of other duplicates and near duplicates in two splits, the one in train rather than in validation,
    and in validation rather than in test, so that evaluation stays comparable with the results of others; of other
    identical files in one split all but one. Near duplicates within a split stay.
    """
    excluded: dict[str, Exclusion] = {}
    for photo in report.photos:
        if photo.error:
            excluded[photo.name] = Exclusion(photo.name, photo.split, photo.label, "unreadable")
    pairs = [pair for finding in report.findings for pair in finding.pairs]
    for pair in sorted(pairs, key=lambda pair: (pair.duplicate.name, pair.distance or 0, pair.original.name)):
        for each in _exclude_from(pair):
            excluded.setdefault(each.name, each)
    return sorted(excluded.values())


def write_clean_copy(report: DataReport, folder: Path, *, progress: Progress = no_progress) -> Path:
    """Copies the remaining photos into a new folder, as FOLDER/split/class/photo, with the splits of the check.

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
            for number, photo in enumerate(remaining, start=1):
                _copy(photo, root / photo.split / names[photo.label])
                progress("copy photos", number, len(remaining))
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


def _exclude_from(pair: DuplicatePair) -> Iterator[Exclusion]:
    """Yields the photos of a pair to exclude."""
    original, duplicate = pair.original, pair.duplicate
    if pair.exact and original.label != duplicate.label:
        yield Exclusion(duplicate.name, duplicate.split, duplicate.label, "two labels", original.name)
        yield Exclusion(original.name, original.split, original.label, "two labels", duplicate.name)
    elif original.split != duplicate.split:
        reason = f"{'duplicate' if pair.exact else 'near duplicate'} in {original.split}"
        yield Exclusion(duplicate.name, duplicate.split, duplicate.label, reason, original.name)
    elif pair.exact:
        reason = f"duplicate in {duplicate.split}"
        yield Exclusion(duplicate.name, duplicate.split, duplicate.label, reason, original.name)


def _class_names(report: DataReport) -> dict[str, str]:
    """Returns the folder name of each class: of names that fold to one, the one with the most photos in train."""
    chosen: dict[str, str] = {}
    for split in reversed(SPLITS):
        for name, count in sorted(report.counts.get(split, {}).items(), key=lambda each: -each[1]):
            if count:
                chosen.setdefault(fold_name(name), name)
    names = {photo.label: chosen[fold_name(photo.label)].strip() for photo in report.photos}
    for name in names.values():
        if name in ("", ".", "..") or name.startswith(".") or set(name) & set("/\\\0"):
            raise DataError(
                f"The class {name!r} cannot be the name of a folder.", hint="Use --fix, which writes a list."
            )
    return names


def _copy(photo: CheckedPhoto, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    target = _unused_path(folder, _file_name(photo))
    if isinstance(photo.source, bytes):
        target.write_bytes(photo.source)
    else:
        shutil.copyfile(photo.source, target)


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
