"""Refuses, or warns of, what may be splits among class folders: photos that the user held out are never trained on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from zoo.data.images.formats import has_image_suffix
from zoo.data.sources.split_names import parse_split, parse_split_name, split_words
from zoo.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from zoo.data.sources.walk import PhotoWalk

TABLE_HINT = "or list path,label,split in a CSV file"
_LIST_SUFFIXES = (".txt", ".csv", ".tsv", ".json", ".lst", ".list")
_SPLIT_LIST = re.compile(r"(?<![a-z])(splits?|partitions?|folds?)(?![a-z])")
# Names of folders that say how photos were taken or made, not what they show; the second kind only beside the first.
_VIEW_NAMES = (
    "front frontal back rear side top bottom overhead closeup macro view angle original raw augmented aug cropped crop "
    "rotated flipped resized camera cam phone webcam studio scan scans web jpg jpeg png"
)
_LOOSE_VIEW_NAMES = (
    "left right above below inside outside interior exterior indoor indoors outdoor outdoors day night near far "
    "close wide up down"
)
_VIEWS, _LOOSE_VIEWS = frozenset(_VIEW_NAMES.split()), frozenset(_LOOSE_VIEW_NAMES.split())
_NAME_START = re.compile(r"[a-zA-Z]+(?=[^a-zA-Z])")


def refuse_held_out(walk: PhotoWalk, folder: Path) -> None:
    """Refuses a class folder that contains, at any depth, folders that look like splits.

    Raises:
        DataError: There is a folder such as ``test``, or folders of two splits side by side.
    """
    for outer in walk.folders(folder):
        named = {inner: found for inner in walk.children(outer)[1] if (found := parse_split_name(inner.name))}
        several = len({found.split for found in named.values() if not found.rest}) > 1
        for inner, found in named.items():
            held_out = found.split != "train" and (found.plain or (several and not found.rest))
            if held_out and walk.has_photos(inner):
                raise DataError(
                    f"{walk.root}: the folder {walk.name(inner)} looks like a {found.split} split inside a class.",
                    hint=f"Arrange the photos as {found.split}/CLASS/1.jpg, rename the folder, {TABLE_HINT}.",
                )


def refuse_same_content(walk: PhotoWalk, folder: Path, folders: Sequence[Path]) -> None:
    """Refuses class folders that hold the same subfolders: those may be the classes, and the folders the splits.

    Subfolders that are named for views, such as ``front`` and ``back``, are no classes.

    Raises:
        DataError: It is unclear which of the folders are the classes.
    """
    full = [each for each in folders if walk.has_photos(each)]
    inner = [{sub.name.casefold() for sub in walk.children(each)[1] if walk.has_photos(sub)} for each in full]
    direct = any(has_image_suffix(file.name) for each in full for file in walk.children(each)[0])
    if len(full) < 2 or direct:
        return
    shared = set.intersection(*inner)
    if len(shared) > 1 and 2 * len(shared) >= len(set.union(*inner)) and not _are_views(shared):
        names, listed = " and ".join(f"'{each.name}'" for each in full[:3]), ", ".join(sorted(shared)[:5])
        raise DataError(
            f"{folder}: the folders {names} contain the same folders ({listed}): either may be the classes.",
            hint=f"If {min(shared)} is a class, name the outer folders train, val and test; if {full[0].name} is one, "
            "move its photos out of the inner folders, or list path,label in a CSV file.",
        )


def _are_views(names: Iterable[str]) -> bool:
    """Returns whether all names of folders are of views: ``front``, ``Back 2``."""
    words = [{word for word in split_words(name) if not word.isdecimal()} for name in names]
    return all(each and each <= _VIEWS | _LOOSE_VIEWS for each in words) and any(each & _VIEWS for each in words)


def check_lists(walk: PhotoWalk, files: Iterable[Path]) -> list[str]:
    """Refuses lists of several splits beside class folders, which would not be read, and warns of a single one."""
    lists = [file for file in files if file.suffix.lower() in _LIST_SUFFIXES]
    named = {file.name: split for file in lists if (split := parse_split(file.stem))}
    if len(set(named.values())) > 1:
        raise DataError(
            f"{walk.root} contains {' and '.join(sorted(named))}, which may list the photos of splits.",
            hint=f"Use folders train, val and test, {TABLE_HINT}; or move the lists elsewhere.",
        )
    unread = [file.name for file in lists if file.name in named or _SPLIT_LIST.search(file.stem.lower())]
    return [f"{name} may list the photos of splits, and is not read." for name in unread]


def check_names(walk: PhotoWalk, folders: Iterable[Path]) -> list[str]:
    """Warns if the names of most photos start with names of splits: ``cat/test_1.jpg``."""
    first: dict[str, Path] = {}
    total = named = 0
    for folder in folders:
        for photo in walk.photos(folder):
            total += 1
            start = _NAME_START.match(photo.name)
            if start is not None and (found := parse_split_name(start[0])) is not None and found.plain:
                named += 1
                first.setdefault(found.split, photo)
    if len(first) < 2 or 2 * named < total:
        return []
    names = " and ".join(walk.name(photo) for photo in first.values())
    return [f"The names of photos look like those of splits ({names}), but the splits are taken at random."]
