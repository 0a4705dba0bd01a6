"""A lesson: class folders of photos on disk, as ``zoo finetune --data`` takes them. Nothing lives in memory alone."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from zoo.data.images.decode import open_image
from zoo.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

_LONGEST_SIDE = 1024  # networks see far less, and phones give far more
_QUALITY = 92
_NAME = re.compile(r"[\w][\w +-]{0,59}")
_MOST_PHOTOS = 5_000


@dataclass(frozen=True, slots=True)
class Lesson:
    """A folder with a folder of photos for each class.

    Attributes:
        folder: Of the lesson.
    """

    folder: Path

    @property
    def name(self) -> str:
        """What it is called."""
        return self.folder.name

    def classes(self) -> dict[str, int]:
        """Returns how many photos each class has, in the order of the classes' names."""
        if not self.folder.is_dir():
            return {}
        return {each.name: len(photos_of(each)) for each in sorted(self.folder.iterdir()) if each.is_dir()}

    def photos(self, label: str) -> list[Path]:
        """Returns the photos of a class, the newest first."""
        return photos_of(self._class(label))

    def add_class(self, label: str) -> str:
        """Makes a class and returns its name, tidied; one that is there already is left as it is.

        Raises:
            ConfigError: The name is empty, too long, or cannot name a folder.
        """
        folder = self._class(label)
        folder.mkdir(parents=True, exist_ok=True)
        return folder.name

    def remove_class(self, label: str) -> None:
        """Deletes a class and its photos."""
        shutil.rmtree(self._class(label), ignore_errors=True)

    def add(self, label: str, photo: Path | bytes | NDArray[np.uint8], *, name: str = "The photo") -> Path:
        """Keeps a photo, shrunk and upright, as JPEG; one that the class has already is not kept twice.

        Raises:
            ImageError: It cannot be read.
            ConfigError: There is no such class, or the lesson has too many photos.
        """
        folder = self._class(label)
        if not folder.is_dir():
            raise ConfigError(f"There is no class '{label}'.", hint="Add it first.")
        if sum(self.classes().values()) >= _MOST_PHOTOS:
            raise ConfigError(
                f"A lesson takes {_MOST_PHOTOS:,} photos at most.", hint="Train on a folder with 'zoo finetune'."
            )
        image = open_image(photo, name=name) if isinstance(photo, (Path, bytes)) else Image.fromarray(photo)
        image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=_QUALITY)
        file = folder / f"{hashlib.sha256(buffer.getvalue()).hexdigest()[:16]}.jpg"
        if not file.exists():
            aside = file.with_suffix(f".{uuid.uuid4().hex}.part")
            aside.write_bytes(buffer.getvalue())
            aside.replace(file)
        return file

    def remove(self, photos: Iterable[Path]) -> None:
        """Deletes photos of this lesson; paths that lie elsewhere are left alone."""
        for photo in photos:
            if photo.parent.parent == self.folder:
                photo.unlink(missing_ok=True)

    def _class(self, label: str) -> Path:
        return self.folder / _checked(label, "class")


def open_lesson(lessons: Path, name: str) -> Lesson:
    """Returns the lesson of a name, which need not exist yet.

    Args:
        lessons: The folder of all lessons.
        name: As the user typed it.

    Raises:
        ConfigError: The name is empty, too long, or cannot name a folder.
    """
    return Lesson(lessons / _checked(name, "lesson"))


def list_lessons(lessons: Path) -> list[str]:
    """Returns the names of the lessons below a folder."""
    return sorted(each.name for each in lessons.iterdir() if each.is_dir()) if lessons.is_dir() else []


def photos_of(folder: Path) -> list[Path]:
    """Returns the photos in a class folder, the newest first."""
    return sorted(folder.glob("*.jpg"), key=lambda file: (-file.stat().st_mtime_ns, file.name))


def _checked(name: str, what: str) -> str:
    tidied = " ".join(name.split())
    if not _NAME.fullmatch(tidied):
        raise ConfigError(
            f"{tidied[:60]!r} cannot name a {what}.",
            hint="Use up to 60 letters, digits, spaces, dashes; begin with a letter or digit.",
        )
    return tidied
