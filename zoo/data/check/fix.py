"""What to leave out of a dataset, so that little is wrong with it: a list, or a clean copy. Changes no original."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from zoo.data.check.classes import fold
from zoo.data.check.header import SUFFIXES
from zoo.data.check.report import PARTS
from zoo.data.sources.exclusions import Exclusion
from zoo.errors import DataError
from zoo.events import no_progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zoo.data.check.report import Pair, Photo, Report
    from zoo.events import Progress

_NAME_BYTES = 150


def exclusions(report: Report) -> list[Exclusion]:
    """Returns what to leave out, in the order of the names.

    Unreadable photos; of two photos in two parts, equal or nearly so, the one in train rather than in validation, and
    in validation rather than in test: what measures stays as it is, whoever's figures it is compared with. Of copies
    in one part all but one stay out, and all of them where they are in different classes: none is known to be right.
    What is only nearly the same within a part stays.
    """
    found: dict[str, Exclusion] = {}
    for photo in report.photos:
        if photo.error:
            found[photo.name] = Exclusion(photo.name, photo.part, photo.label, "unreadable")
    pairs = [pair for finding in report.findings for pair in finding.pairs]
    for pair in sorted(pairs, key=lambda pair: (pair.other.name, pair.distance or 0, pair.kept.name)):
        for each in _of(pair):
            found.setdefault(each.name, each)
    return sorted(found.values())


def write_clean_copy(report: Report, folder: Path, *, progress: Progress = no_progress) -> Path:
    """Copies what is to stay into a new folder, as FOLDER/part/class/photo, the parts as they were examined.

    Files that are of another format than their name says get the suffix of their format; classes whose names differ in
    case, spaces or dashes alone become one, called as in train.

    Args:
        report: From `zoo.data.check.examine.check_images`.
        folder: Must not exist yet, or be empty.
        progress: Called as the photos are copied.

    Raises:
        DataError: The folder is not empty or cannot be written to, a class cannot be a folder's name, or a photo is no
            longer there. The folder is then as it was.
    """
    check_copy_target(folder)
    gone = {each.name for each in exclusions(report)}
    staying = [photo for photo in report.photos if photo.name not in gone]
    names = _class_names(report)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as aside:
            root = Path(aside) / "copy"
            root.mkdir()
            for number, photo in enumerate(staying, start=1):
                _copy(photo, root / photo.part / names[photo.label])
                progress("copy photos", number, len(staying))
            if folder.exists():
                folder.rmdir()
            root.rename(folder)
    except OSError as error:
        raise DataError(
            f"The clean copy {folder} cannot be written: {error.strerror or error}.", hint="Is the disk full?"
        ) from error
    return folder


def check_copy_target(folder: Path) -> None:
    """Checks that a copy may be written to a folder; raises as `write_clean_copy`."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} is not empty.", hint="Name a new folder for the copy.")


def _of(pair: Pair) -> Iterator[Exclusion]:
    """Yields what to leave out of two photos that are the same."""
    kept, other = pair.kept, pair.other
    if kept.part != other.part:
        how = "in" if pair.exact else "nearly in"
        yield Exclusion(other.name, other.part, other.label, f"{how} {kept.part} as well", kept.name)
    elif pair.exact and kept.label != other.label:
        yield Exclusion(other.name, other.part, other.label, "two labels", kept.name)
        yield Exclusion(kept.name, kept.part, kept.label, "two labels", other.name)
    elif pair.exact:
        yield Exclusion(other.name, other.part, other.label, f"twice in {other.part}", kept.name)


def _class_names(report: Report) -> dict[str, str]:
    """Returns what each class is called in a copy: of two names that mean one class, that of more photos in train."""
    chosen: dict[str, str] = {}
    for part in reversed(PARTS):
        for name, count in sorted(report.counts.get(part, {}).items(), key=lambda each: -each[1]):
            if count:
                chosen.setdefault(fold(name), name)
    names = {photo.label: chosen[fold(photo.label)].strip() for photo in report.photos}
    for name in names.values():
        if name in ("", ".", "..") or name.startswith(".") or set(name) & set("/\\\0"):
            raise DataError(
                f"The class {name!r} cannot be the name of a folder.", hint="Use --fix, which writes a list."
            )
    return names


def _copy(photo: Photo, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    target = _free(folder, _file_name(photo))
    if isinstance(photo.source, bytes):
        target.write_bytes(photo.source)
    else:
        shutil.copyfile(photo.source, target)


def _file_name(photo: Photo) -> str:
    name = re.sub(r"[^\w .()+,@~-]", "_", PurePath(photo.name).name).lstrip(". ") or "photo"
    stem, suffix = PurePath(name).stem, PurePath(name).suffix
    if photo.header is not None and photo.header.has_suffix_of_another(name):
        suffix = SUFFIXES[photo.header.format][0]
    return stem.encode()[:_NAME_BYTES].decode(errors="ignore") + suffix


def _free(folder: Path, name: str) -> Path:
    """Returns a path in a folder that no file has yet: photos of several folders may be of one name."""
    path, number = folder / name, 1
    while path.exists():
        number += 1
        path = folder / f"{PurePath(name).stem}-{number}{PurePath(name).suffix}"
    return path
