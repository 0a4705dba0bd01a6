"""Data sets of photos in class folders: found, drawn from, identified by their content, and copied."""

from __future__ import annotations

import functools
import hashlib
import random
import shutil
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_SUFFIXES = {".jpg", ".jpeg", ".png"}
_SPLITS = ("train", "val", "test")
_MIN_PER_CLASS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoSet:
    """A data set.

    Attributes:
        name: Name in the tables.
        photos: Photos of each split. The folder of a photo is its class.
    """

    name: str
    photos: dict[str, tuple[Path, ...]]

    def digest(self) -> str:
        """Returns a hash of the names, labels and contents of all photos."""
        total = hashlib.sha256()
        for split, paths in self.photos.items():
            for path in paths:
                total.update(f"{split}/{name_of(path)}\0{_file_digest(path)}\n".encode())
        return total.hexdigest()

    def limit(self, count: int | None, seed: int) -> PhotoSet:
        """Returns the set with at most `count` training photos: of each class its share, but at least two."""
        if count is None or len(self.photos["train"]) <= count:
            return self
        return replace(self, photos={**self.photos, "train": tuple(sorted(_rank(self.photos["train"], seed)[:count]))})

    def hold_out(self, share: float, seed: int) -> PhotoSet:
        """Returns a set that tests on a share of the training photos instead of the test photos."""
        ranked = _rank(self.photos["train"], seed)
        cut = round(len(ranked) * (1 - share))
        return PhotoSet(
            name=self.name, photos={"train": tuple(sorted(ranked[:cut])), "test": tuple(sorted(ranked[cut:]))}
        )

    def copy(self, into: Path) -> Path:
        """Copies the photos into class folders below the splits; returns `into`."""
        for split, paths in self.photos.items():
            for path in paths:
                target = into / split / name_of(path)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        return into


def name_of(photo: Path) -> str:
    """Returns class and file name of a photo."""
    return f"{photo.parent.name}/{photo.name}"


def class_of(name: str) -> str:
    """Returns the class in the name of a photo."""
    return name.rpartition("/")[0]


def find_sets(folders: Iterable[Path], names: Sequence[str] | None) -> list[PhotoSet]:
    """Returns the data sets in folders, each of which is a data set itself or contains some; exits if there are none.

    Folders without two classes in ``train/`` and in ``test/`` are no data sets.

    Args:
        folders: Folders to search.
        names: Names of the sets to return, in this order; None for all, sorted.
    """
    found = {}
    for folder in folders:
        for each in (folder, *sorted(path for path in folder.glob("*") if path.is_dir())):
            photos = {split: _find_photos(each / split) for split in _SPLITS if (each / split).is_dir()}
            if all(len({path.parent for path in photos.get(split, ())}) > 1 for split in ("train", "test")):
                found[each.resolve().name] = PhotoSet(name=each.resolve().name, photos=photos)
    if unknown := set(names or ()) - found.keys():
        sys.exit(f"No data set {', '.join(sorted(unknown))}. Found: {', '.join(found) or 'none'}.")
    if not found:
        sys.exit("No data set found: a folder with train/CLASS/*.jpg and test/CLASS/*.jpg of at least two classes.")
    return [found[name] for name in names] if names else list(found.values())


def _find_photos(split: Path) -> tuple[Path, ...]:
    return tuple(sorted(path for path in split.glob("*/*") if path.suffix.lower() in _SUFFIXES))


def _rank(photos: Sequence[Path], seed: int) -> list[Path]:
    """Returns the photos in an order of which every beginning has the classes in proportion, after two of each."""
    rng = random.Random(seed)
    classes: dict[str, list[Path]] = {}
    for path in photos:
        classes.setdefault(path.parent.name, []).append(path)
    ranks = {}
    for members in classes.values():
        rng.shuffle(members)
        offset = rng.random()
        for place, path in enumerate(members):
            ranks[path] = (place + offset) / len(members) if place >= _MIN_PER_CLASS else -1.0
    return sorted(ranks, key=lambda path: ranks[path])


@functools.cache
def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
