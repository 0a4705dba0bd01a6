"""Where decoded photos are put, one after the other: memory while there is room, then a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zoo.data.loading.pixel_file import PackWriter

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

NOWHERE = -1


class Shelf:
    """Takes photos until memory is full; then writes all of them to a file, if there may be one; else some are left.

    The photos in memory stay there until the file is finished: should the disk become full, they are not lost.

    Args:
        memory: Bytes of memory that may be taken.
        file: Where a file may be written, or None.
        count: Of the photos to come, about.

    Attributes:
        file: Where all photos are, once they are finished and in a file; else None.
        trouble: Why no file could be written, or empty.
    """

    def __init__(self, *, memory: int, file: Path | None, count: int) -> None:
        self.file: Path | None = None
        self.trouble = ""
        # Only what is written to takes memory: a budget larger than the photos costs nothing.
        self._memory = np.empty((memory // 3, 3), np.uint8)
        self._in_memory = 0
        self._end = 0
        self._path = file
        self._count = count
        self._shapes: list[tuple[int, ...]] = []
        self._writer: PackWriter | None = None

    def put(self, photo: NDArray[np.uint8]) -> int:
        """Takes a photo, uint8 ``(H, W, 3)``.

        Returns:
            Where it begins, in pixels, or `NOWHERE`.
        """
        start, end = self._end, self._end + photo.size // 3
        if self.trouble:
            return NOWHERE
        if self._writer is None and end <= len(self._memory):
            self._memory[start:end] = photo.reshape(-1, 3)
            self._shapes.append(photo.shape)
            self._in_memory = end
        elif self._path is None or not self._write(photo, self._path):
            return NOWHERE
        self._end = end
        return start

    def finish(self, unreadable: dict[int, str]) -> NDArray[np.uint8]:
        """Ends the taking in, and returns the pixels that are in memory, uint8 ``(P, 3)``: none if `file` has them.

        Args:
            unreadable: What the file has to tell of photos that are not in it.
        """
        if self._writer is not None:
            try:
                self._writer.finish(unreadable)
            except OSError as error:
                self._give_up(error)
            else:
                self.file = self._writer.path
                self._in_memory = 0
        kept, self._memory = self._memory[: self._in_memory], self._memory[:0]
        return kept

    def abandon(self) -> None:
        """Leaves no file behind; for use when decoding was stopped by an error."""
        if self._writer is not None:
            self._writer.abandon()

    def _write(self, photo: NDArray[np.uint8], path: Path) -> bool:
        """Writes a photo to the file, which is begun with those in memory; returns whether that was possible."""
        try:
            if self._writer is None:
                self._begin(path, photo)
            else:
                self._writer.write(photo)
        except OSError as error:
            self._give_up(error)
            return False
        return True

    def _begin(self, path: Path, photo: NDArray[np.uint8]) -> None:
        taken = len(self._shapes) + 1
        mean = (3 * self._in_memory + photo.nbytes) / taken
        self._writer = PackWriter(path, expected=int(mean * max(self._count, taken)))
        end = 0
        for height, width, _ in self._shapes:
            start, end = end, end + height * width
            self._writer.write(self._memory[start:end].reshape(height, width, 3))
        self._writer.write(photo)

    def _give_up(self, error: OSError) -> None:
        self.trouble = error.strerror or str(error)
        self.abandon()
        self._writer = None
