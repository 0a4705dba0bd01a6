"""Finds the photos below a folder, and records what it leaves out. Training, the data check and predictions share it.

Left out are hidden files, what other programs and this one write beside photos, links that lead out of the folder,
photos in formats that cannot be read, and files that are no photos. A link or a path that the system refuses is left
out, and never stops the walk.
"""

from __future__ import annotations

import errno
import mimetypes
import os
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from zoo.data.images.formats import START, has_image_suffix, starts_like_photo, unreadable_format
from zoo.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NOT_AN_IMAGE = "not an image"
NO_SUFFIX = "without an image suffix"
HIDDEN = "hidden"
FOLDER_LINK = "a link to a folder"
UNLABELLED = "without labels"
_OUTSIDE_LINK = "a link that points outside the folder"
_BROKEN_LINK = "a broken link"
_LINK_LOOP = "a link that leads back to itself"
_FOREIGN = "made by another program"
_RUNS = "a folder of runs"
_LONG_PATH = "with a path that is too long"
# Thumbnails, copies and deleted photos: of macOS, Jupyter, Synology, QNAP, Windows, Linux, Android, Picasa, git, ...
_FOREIGN_NAMES = (
    "__macosx .ipynb_checkpoints @eadir #recycle #snapshot @tmp @sharebin @recycle @recently-snapshot .@__thumb "
    ".@upload_cache $recycle.bin lost+found .thumbnails .thumbs .thumb .trash .trashes .appledouble .dtrash "
    ".picasaoriginals .git .svn .hg .cache .venv node_modules site-packages .fseventsd .spotlight-v100 "
    ".temporaryitems .snapshot"
)
_FOREIGN_FOLDERS = {*_FOREIGN_NAMES.split(), "system volume information"}
_ICLOUD = "not downloaded from iCloud"
# What identifies a run, and the folder of the runs (see `zoo.runs`): what training writes is no data.
_RUN_RECORDS = {"run.json": b'"backbone"', "folds.json": b'"folds"'}  # each with what it contains
_TAGS = "tags.json"
_LESSONS, _COMPARISON = "lessons", "comparison"  # what else is in the folder of the runs
_RECORD_START = 1 << 16  # bytes
_MAX_COUNTED = 100_000  # entries of a folder that is left out


class SkippedFile(NamedTuple):
    """A file or folder that was left out.

    Attributes:
        path: Where it is.
        name: Its path relative to the root, as text.
        reason: Why, in a few words.
        photos: Number of photos that are lost with it: 0 for what is no photo, or only a copy of one.
    """

    path: Path
    name: str
    reason: str
    photos: int


class PhotoWalk:
    """Walks below one folder, and records what it leaves out.

    Args:
        root: The folder. It may itself be hidden or a link.
        tolerant: Whether to leave out folders that cannot be read, instead of raising an error.
    """

    def __init__(self, root: Path, *, tolerant: bool = False) -> None:
        self.root = root
        self.unreadable: list[DataError] = []
        self._tolerant = tolerant
        self._real_root = os.path.realpath(root)
        self._children: dict[Path, tuple[list[Path], list[Path]]] = {}
        self._skipped: dict[Path, SkippedFile] = {}

    @property
    def skipped(self) -> list[SkippedFile]:
        """What was left out so far."""
        return list(self._skipped.values())

    def children(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """Returns the files and folders in a folder that are not left out, in the order of their names.

        Raises:
            DataError: The folder cannot be read.
        """
        if folder not in self._children:
            self._children[folder] = self._scan(folder)
        return self._children[folder]

    def folders(self, folder: Path) -> Iterator[Path]:
        """Yields a folder, and the folders at any depth below it that are not left out.

        Raises:
            DataError: A folder cannot be read.
        """
        waiting = [folder]  # not recursive: paths may have thousands of parts
        while waiting:
            yield (current := waiting.pop())
            waiting += reversed(self.children(current)[1])

    def photos(self, folder: Path) -> Iterator[Path]:
        """Yields the photos at any depth below a folder: those in a folder before those in its subfolders.

        Raises:
            DataError: A folder cannot be read.
        """
        for inner in self.folders(folder):
            yield from self.select_photos(self.children(inner)[0])

    def select_photos(self, files: Iterable[Path]) -> Iterator[Path]:
        """Yields the files that are photos and can be read; leaves out the others."""
        for file in files:
            if has_image_suffix(file.name):
                yield file
            elif file not in self._skipped:
                reason = judge_suffix(file.name) or (NO_SUFFIX if _starts_like_photo(file) else NOT_AN_IMAGE)
                self.skip(file, reason, photos=int(reason != NOT_AN_IMAGE))

    def has_photos(self, folder: Path) -> bool:
        """Returns whether there is a photo that can be read, at any depth below a folder."""
        return next(self.photos(folder), None) is not None

    def skip(self, path: Path, reason: str, *, photos: int) -> None:
        """Records that a file or folder is left out."""
        self._skipped.setdefault(path, SkippedFile(path, self.name(path), reason, photos))

    def name(self, path: Path) -> str:
        """Returns the name of the sample of a photo."""
        return escape_undecodable(path.relative_to(self.root).as_posix())

    def _scan(self, folder: Path) -> tuple[list[Path], list[Path]]:
        files: list[Path] = []
        folders: list[Path] = []
        try:
            with os.scandir(folder) as scanned:
                entries = sorted(scanned, key=lambda entry: entry.name)
        except OSError as error:
            if folder != self.root and _is_too_long(error):
                self.skip(folder, _LONG_PATH, photos=1)  # at least
                return files, folders
            problem = DataError(f"{folder} cannot be read ({error.strerror}).", hint="Check its permissions.")
            if folder == self.root or not self._tolerant:
                raise problem from None
            self.unreadable.append(problem)
            return files, folders
        for entry in entries:
            child = folder / entry.name
            try:
                is_folder = entry.is_dir()
                reason, photos = self._judge(entry, child, is_folder)
            except OSError as error:  # of a link, or of a path that is too long
                is_folder, reason, photos = False, _LONG_PATH if _is_too_long(error) else _LINK_LOOP, 1
            if reason:
                self.skip(child, reason, photos=photos)
            else:
                (folders if is_folder else files).append(child)
        return files, folders

    def _judge(self, entry: os.DirEntry[str], child: Path, is_folder: bool) -> tuple[str, int]:
        """Returns why to leave out an entry, or an empty reason, and how many photos are lost with it."""
        if reason := judge_name(entry.name):
            return reason, 0 if reason == _FOREIGN else self._count_hidden(child, is_folder)
        if entry.is_symlink():
            inside = self._is_inside(child)
            if is_folder:
                return FOLDER_LINK, 0 if inside else _count_photos(child)
            if not entry.is_file():
                return ("not a file" if child.exists() else _BROKEN_LINK), int(has_image_suffix(child.name))
            return ("", 0) if inside else (_OUTSIDE_LINK, int(has_image_suffix(child.name)))
        if is_folder:
            return (_RUNS, 0) if is_run_folder(child) else ("", 0)
        return ("", 0) if entry.is_file() else ("not a file", 0)

    def _count_hidden(self, path: Path, is_folder: bool) -> int:
        if is_folder:
            return 0 if path.is_symlink() and self._is_inside(path) else _count_photos(path)
        name = path.name.removesuffix(".icloud")
        looks = has_image_suffix(name) or unreadable_format(name)
        return int(bool(looks) and (name != path.name or _starts_like_photo(path)))

    def _is_inside(self, path: Path) -> bool:
        return Path(os.path.realpath(path)).is_relative_to(self._real_root)


def judge_name(name: str) -> str:
    """Returns why a file or folder of this name is left out, or an empty string."""
    lower = name.lower()
    if lower in _FOREIGN_FOLDERS or lower.startswith((".trash-", "._")):  # ._x: the macOS companion of a file
        return _FOREIGN
    if lower.startswith(".") and lower.endswith(".icloud"):
        return _ICLOUD
    return HIDDEN if name.startswith(".") else ""


def judge_member(name: str) -> tuple[str, int]:
    """Returns why a member of an archive is left out, by its path there, or an empty string; and the photos lost."""
    reasons = (judge_name(part) for part in PurePosixPath(name).parts if part != "..")
    photos = int(has_image_suffix(name) or bool(unreadable_format(name)))
    if reason := next(filter(None, reasons), ""):
        return reason, 0 if reason == _FOREIGN else photos
    return (judge_suffix(name) or ("" if photos else NOT_AN_IMAGE)), photos


def judge_suffix(name: str) -> str:
    """Returns the reason to leave out a photo in a format that cannot be read, or an empty string."""
    unreadable = unreadable_format(name)
    return f"{unreadable} cannot be read" if unreadable else ""


def escape_undecodable(name: str) -> str:
    """Returns a file name as valid text, with bytes that are not UTF-8 as escape sequences."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def is_run_folder(folder: Path) -> bool:
    """Returns whether a folder is a run, or contains runs and no photos beside them."""
    if _is_run(folder):
        return True
    try:
        with os.scandir(folder) as scanned:
            entries = [entry for entry in scanned if not judge_name(entry.name)]
        folders = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:  # reported when the folder is read
        return False
    runs = [each for each in folders if _is_run(each)]
    if not runs and not any(entry.name == _TAGS for entry in entries):
        return False
    photos = (entry for entry in entries if has_image_suffix(entry.name) and PurePath(entry.name).stem != _COMPARISON)
    others = (each for each in folders if each not in runs and each.name != _LESSONS)
    return next(photos, None) is None and not any(PhotoWalk(each, tolerant=True).has_photos(each) for each in others)


def _is_run(folder: Path) -> bool:
    """Returns whether a folder contains the record of a run or of its folds, and not just a file of the same name."""
    for name, content in _RUN_RECORDS.items():
        record = folder / name
        try:
            if record.is_file():
                with record.open("rb") as file:
                    return content in file.read(_RECORD_START)
        except OSError:
            continue
    return False


def _count_photos(folder: Path) -> int:
    """Returns the number of photos below a folder that is left out; stops counting at a large number of files."""
    photos = entries = 0
    waiting = [os.fspath(folder)]
    while waiting and entries < _MAX_COUNTED:
        try:
            with os.scandir(waiting.pop()) as scanned:
                visible = [entry for entry in scanned if not judge_name(entry.name)]
        except OSError:
            continue
        entries += len(visible)
        waiting += [entry.path for entry in visible if entry.is_dir(follow_symlinks=False)]
        photos += sum(has_image_suffix(entry.name) for entry in visible if not entry.is_dir(follow_symlinks=False))
    return photos


def _starts_like_photo(file: Path) -> bool:
    """Returns whether a file without an image suffix is a photo, unless its suffix is known to mean something else."""
    kind = mimetypes.guess_type(file.name)[0]
    if (kind is not None and not kind.startswith("image/")) or not file.is_file():  # a pipe would block
        return False
    try:
        with file.open("rb") as stream:
            return starts_like_photo(stream.read(START))
    except OSError:
        return False


def _is_too_long(error: OSError) -> bool:
    return error.errno == errno.ENAMETOOLONG
