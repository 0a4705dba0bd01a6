"""Collects decoded photos one after the other: in memory while there is room, then in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zoo.data.loading.pixel_file import PixelFileWriter

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

NOT_STORED = -1


class PixelBuffer:
    """Stores photos in memory until it is full; then moves all of them to a file, if there may be one, else stops.

    The photos in memory stay there until the file is complete, so that a full disk loses none of them.

    Args:
        memory: Bytes of memory that may be used.
        file: Where a file may be written, or None.
        count: Expected number of photos.

    Attributes:
        file: The file, once it is complete and holds all photos; otherwise None.
        error: Why no file could be written, or empty.
    """

    def __init__(self, *, memory: int, file: Path | None, count: int) -> None:
        self.file: Path | None = None
        self.error = ""
        # Pages are allocated only when they are written: a budget larger than the photos costs nothing.
        self._memory = np.empty((memory // 3, 3), np.uint8)
        self._in_memory = 0
        self._end = 0
        self._path = file
        self._count = count
        self._shapes: list[tuple[int, ...]] = []
        self._writer: PixelFileWriter | None = None

    def append(self, photo: NDArray[np.uint8]) -> int:
        """Stores a photo, uint8 ``(H, W, 3)``.

        Returns:
            Where it starts, in pixels, or `NOT_STORED`.
        """
        start, end = self._end, self._end + photo.size // 3
        if self.error:
            return NOT_STORED
        if self._writer is None and end <= len(self._memory):
            self._memory[start:end] = photo.reshape(-1, 3)
            self._shapes.append(photo.shape)
            self._in_memory = end
        elif self._path is None or not self._write(photo, self._path):
            return NOT_STORED
        self._end = end
        return start

    def finish(self, unreadable: dict[int, str]) -> NDArray[np.uint8]:
        """Completes the file, and returns the pixels in memory, uint8 ``(P, 3)``: none if they are in the file.

        Args:
            unreadable: Recorded in the file: the photos that could not be decoded, each with the reason.
        """
        if self._writer is not None:
            try:
                self._writer.finish(unreadable)
            except OSError as error:
                self._give_up(error)
            else:
                self.file = self._writer.path
                self._in_memory = 0
        pixels, self._memory = self._memory[: self._in_memory], self._memory[:0]
        return pixels

    def discard_file(self) -> None:
        """Deletes an incomplete file; call it when an error stopped decoding."""
        if self._writer is not None:
            self._writer.discard()

    def _write(self, photo: NDArray[np.uint8], path: Path) -> bool:
        """Writes a photo to the file, which starts with those in memory; returns whether that was possible."""
        try:
            if self._writer is None:
                self._start_file(path, photo)
            else:
                self._writer.write(photo)
        except OSError as error:
            self._give_up(error)
            return False
        return True

    def _start_file(self, path: Path, photo: NDArray[np.uint8]) -> None:
        count = len(self._shapes) + 1
        mean = (3 * self._in_memory + photo.nbytes) / count
        self._writer = PixelFileWriter(path, expected=int(mean * max(self._count, count)))
        end = 0
        for height, width, _ in self._shapes:
            start, end = end, end + height * width
            self._writer.write(self._memory[start:end].reshape(height, width, 3))
        self._writer.write(photo)

    def _give_up(self, error: OSError) -> None:
        self.error = error.strerror or str(error)
        self.discard_file()
        self._writer = None
