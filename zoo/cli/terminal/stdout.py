"""Stdout that escapes what it cannot encode and reports what it cannot write."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

from zoo.errors import ZooError

if TYPE_CHECKING:
    from collections.abc import Iterator


class OutputError(ZooError):
    """Stdout cannot be written: it is closed, or the disk behind it is full."""

    def __init__(self, error: OSError) -> None:
        reason = error.strerror or str(error)
        super().__init__(f"Cannot write the output: {reason}.", hint="Redirect it to another file or device.")


class CheckedStream:
    """A text stream whose OSErrors become `OutputError`s, so that they are not mistaken for those of other files.

    A broken pipe stays a BrokenPipeError: the reader is gone, and needs no message.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes text.

        Raises:
            OutputError: It cannot be written.
        """
        try:
            return int(self._stream.write(text))
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(error) from error

    def flush(self) -> None:
        """Writes what is buffered.

        Raises:
            OutputError: It cannot be written.
        """
        try:
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(error) from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def checked_stdout() -> Iterator[None]:
    """Replaces stdout for a while: failures are `OutputError`s, characters that it cannot encode become escapes."""
    before: Any = sys.stdout
    stream = _closed_stream() if before is None else before
    if getattr(stream, "errors", None) == "strict":
        stream.reconfigure(errors="backslashreplace")
    sys.stdout = CheckedStream(stream)
    try:
        yield
    finally:
        sys.stdout = before


def discard_stdout() -> None:
    """Discards what is still buffered for stdout: Python flushes once more at exit."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _closed_stream() -> Any:
    """Returns a stream on descriptor 1 that refuses to be written, as it is open for reading only.

    Without it, the next file that is opened would become descriptor 1, and libraries would print into it.
    """
    os.dup2(os.open(os.devnull, os.O_RDONLY), 1)
    return open(1, "w", encoding="utf-8", closefd=False)
