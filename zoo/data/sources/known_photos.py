"""Finds the photos of a dataset that the lines of a CSV file mean."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.data.sources.table_columns import PATH_HEADERS
from zoo.data.sources.table_rows import fold_header
from zoo.plugins.specs import SPLITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.plugins.specs import ImageSet


class KnownPhotos:
    """Finds the photo that a path in a table means: by its name, or as a file relative to the table.

    Attributes:
        names: The names of all photos.
    """

    def __init__(self, images: ImageSet, folder: Path) -> None:
        samples = [sample for split in SPLITS for sample in getattr(images, split)]
        self.names = {sample.name for sample in samples}
        self._files = {os.path.abspath(s.source): s.name for s in samples if isinstance(s.source, Path)}  # noqa: PTH100
        # A folder that was passed as data is resolved, a table is not.
        self._folders = dict.fromkeys((os.path.abspath(folder), os.path.realpath(folder)))  # noqa: PTH100
        self._left_out = images.skipped

    def find(self, path: str) -> str:
        """Returns the name of a photo; empty if there is none."""
        name = _normalize(path)
        if name in self.names:
            return name
        return next((self._files[file] for file in self._list_files(name) if file in self._files), "")

    def is_left_out(self, path: str) -> bool:
        """Returns whether a path is that of a file that is not in the data: of another folder, or left out."""
        name = _normalize(path)
        return any(map(os.path.isfile, self._list_files(name))) or any(
            line.startswith(f"{name}: ") for line in self._left_out
        )

    def _list_files(self, name: str) -> list[str]:
        files = [os.path.normpath(os.path.join(folder, name)) for folder in self._folders]  # noqa: PTH118
        # Not the photo itself, which may be a link: a folder of links is read as one of photos.
        resolved = [os.path.join(os.path.realpath(os.path.dirname(file)), os.path.basename(file)) for file in files]  # noqa: PTH118, PTH119, PTH120
        return list(dict.fromkeys([*files, *resolved]))


def find_path_columns(header: Sequence[str]) -> tuple[int, ...]:
    """Returns the columns of a table whose names are usual for paths."""
    return tuple(place for place, cell in enumerate(header) if fold_header(cell) in PATH_HEADERS)


def _normalize(path: str) -> str:
    return posixpath.normpath(path.replace("\\", "/"))
