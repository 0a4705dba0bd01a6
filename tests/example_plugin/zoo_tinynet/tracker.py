"""The tracker tiny-log."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import zoo


class TinyLog:
    """Writes the type of each event into a file."""

    def __init__(self, request: zoo.TrackerRequest) -> None:
        self._file = (request.folder / "events.txt").open("a", encoding="utf-8")

    def track(self, event: object) -> None:
        """Writes a line."""
        self._file.write(f"{type(event).__name__}\n")

    def close(self, status: str) -> None:
        """Writes the status and closes the file."""
        self._file.write(f"{status}\n")
        self._file.close()
