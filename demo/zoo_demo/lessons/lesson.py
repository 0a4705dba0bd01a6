"""A lesson: class folders of photos on disk, in the layout that ``zoo finetune --data`` reads."""

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

_MAX_SIDE = 1024  # pixels; networks use far fewer, and phones deliver far more
_JPEG_QUALITY = 92
_NAME = re.compile(r"[\w][\w +-]{0,59}")
_MAX_PHOTOS = 5_000  # of a lesson
_MAX_ALL_PHOTOS, _MAX_ALL_CLASSES = 20_000, 1_000  # of all lessons: 6 GB at most


@dataclass(frozen=True, slots=True)
class Lesson:
    """A folder with one folder of photos per class.

    Attributes:
        folder: The folder; it is created with the first class.
    """

    folder: Path

    @property
    def name(self) -> str:
        """The lesson's name."""
        return self.folder.name

    def classes(self) -> dict[str, int]:
        """Returns the number of photos of each class, sorted by the name of the class."""
        if not self.folder.is_dir():
            return {}
        return {each.name: len(_list_photos(each)) for each in sorted(self.folder.iterdir()) if each.is_dir()}

    def photos(self, label: str) -> list[Path]:
        """Returns the photos of a class, newest first."""
        return _list_photos(self._class_folder(label))

    def add_class(self, label: str | None) -> str:
        """Creates a class unless it exists, and returns its name without superfluous spaces.

        Raises:
            ConfigError: The name is empty, too long, or not fit for a folder; or there are too many classes.
        """
        folder = self._class_folder(label)
        if not folder.is_dir() and _count(self.folder.parent, "*/*") >= _MAX_ALL_CLASSES:
            raise ConfigError(
                f"The lessons have {_MAX_ALL_CLASSES:,} classes together, which is the limit.",
                hint="Remove classes, or delete lessons from the folder of runs.",
            )
        folder.mkdir(parents=True, exist_ok=True)
        return folder.name

    def remove_class(self, label: str) -> None:
        """Deletes a class and its photos."""
        shutil.rmtree(self._class_folder(label), ignore_errors=True)

    def add(self, label: str, photo: Path | bytes | NDArray[np.uint8], *, name: str = "The photo") -> Path:
        """Stores a photo as JPEG, upright and scaled down, and returns its file. Duplicates are stored once.

        Args:
            label: The class.
            photo: A file, the bytes of one, or uint8 RGB ``(H, W, 3)``.
            name: What error messages call it.

        Raises:
            ImageError: The photo cannot be read.
            ConfigError: There is no such class, or this lesson or all lessons together are full.
        """
        folder = self._class_folder(label)
        if not folder.is_dir():
            raise ConfigError(f"There is no class '{label}'.", hint="Add it first.")
        if _count(self.folder, "*/*.jpg") >= _MAX_PHOTOS:
            raise ConfigError(
                f"A lesson holds at most {_MAX_PHOTOS:,} photos.", hint="Use 'zoo finetune' on a folder for more."
            )
        if _count(self.folder.parent, "*/*/*.jpg") >= _MAX_ALL_PHOTOS:
            raise ConfigError(
                f"All lessons together hold at most {_MAX_ALL_PHOTOS:,} photos.", hint="Remove photos or classes."
            )
        image = open_image(photo, name=name) if isinstance(photo, (Path, bytes)) else Image.fromarray(photo)
        image.thumbnail((_MAX_SIDE, _MAX_SIDE))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=_JPEG_QUALITY)
        file = folder / f"{hashlib.sha256(buffer.getvalue()).hexdigest()[:16]}.jpg"
        if not file.exists():
            partial = file.with_suffix(f".{uuid.uuid4().hex}.part")
            partial.write_bytes(buffer.getvalue())
            partial.replace(file)
        return file

    def remove(self, photos: Iterable[Path]) -> None:
        """Deletes photos of this lesson; ignores paths outside it."""
        for photo in photos:
            if photo.parent.parent == self.folder:
                photo.unlink(missing_ok=True)

    def _class_folder(self, label: str | None) -> Path:
        return self.folder / _checked_name(label, "class")


def open_lesson(lessons: Path, name: str | None) -> Lesson:
    """Returns the lesson of a name, whether it exists yet or not.

    Args:
        lessons: The folder of all lessons.
        name: As the user typed it; None if the field was never filled.

    Raises:
        ConfigError: The name is empty, too long, or not fit for a folder.
    """
    return Lesson(lessons / _checked_name(name, "lesson"))


def list_lessons(lessons: Path) -> list[str]:
    """Returns the names of the lessons in a folder."""
    return sorted(each.name for each in lessons.iterdir() if each.is_dir()) if lessons.is_dir() else []


def _count(folder: Path, pattern: str) -> int:
    return sum(1 for _ in folder.glob(pattern))


def _list_photos(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jpg"), key=lambda file: (-file.stat().st_mtime_ns, file.name))


def _checked_name(name: str | None, kind: str) -> str:
    name = " ".join((name or "").split())
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name[:60]!r} is not a valid name for a {kind}.",
            hint="Use up to 60 letters, digits, spaces and dashes, and start with a letter or digit.",
        )
    return name
