"""Bounds how many pixels are decoded at a time, by all threads of the process together."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class PixelBudget:
    """So many pixels, of which photos take their share while they are decoded. Who comes first is served first.

    Args:
        most: Pixels. A photo that has more waits until it is alone.
    """

    def __init__(self, most: int) -> None:
        self._most = self._left = most
        self._turn = threading.Lock()
        self._room = threading.Condition()

    @contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Takes a share for the length of a block; waits until there is one."""
        pixels = min(pixels, self._most)
        # Whoever waits for room holds the turn: many small photos never keep a large one out.
        with self._turn, self._room:
            self._room.wait_for(lambda: self._left >= pixels)
            self._left -= pixels
        try:
            yield
        finally:
            with self._room:
                self._left += pixels
                self._room.notify_all()
