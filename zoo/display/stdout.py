"""Stdout for the results of a command alone, and stderr for messages: both escape what they cannot encode.

A failure of stdout is reported; one of stderr is ignored.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

from zoo.errors import ZooError

if TYPE_CHECKING:
    from collections.abc import Iterator

# While stdout is reserved: the stream for results, and the descriptor behind it if that was stdout's own.
_results: Any = None
_descriptor: int | None = None


class OutputError(ZooError):
    """Stdout cannot be written: it is closed, or the disk behind it is full."""

    def __init__(self, error: OSError) -> None:
        reason = error.strerror or str(error)
        super().__init__(f"Cannot write the output: {reason}.", hint="Redirect it to another file or device.")


class _Stream:
    """A text stream that handles its own errors; everything else is that of the stream behind it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes text."""
        try:
            return int(self._stream.write(text))
        except (OSError, OutputError) as error:
            self._handle(error)
            return len(text)

    def flush(self) -> None:
        """Writes what is buffered."""
        try:
            self._stream.flush()
        except (OSError, OutputError) as error:
            self._handle(error)

    def _handle(self, error: OSError | OutputError) -> None:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class CheckedStream(_Stream):
    """A text stream whose OSErrors become `OutputError`s, so that they are not mistaken for those of other files.

    A broken pipe stays a BrokenPipeError: the reader is gone, and needs no message.
    """

    def _handle(self, error: OSError | OutputError) -> None:
        raise error if isinstance(error, BrokenPipeError | OutputError) else OutputError(error) from error


class QuietStream(_Stream):
    """A text stream that goes on after an error.

    Attributes:
        error: The first error, for whoever wants to know; or None.
    """

    error: OSError | OutputError | None = None

    def _handle(self, error: OSError | OutputError) -> None:
        self.error = self.error or error


@contextlib.contextmanager
def checked_stdout() -> Iterator[None]:
    """Replaces stdout for a while: failures are `OutputError`s, characters that it cannot encode become escapes."""
    before: Any = sys.stdout
    # For reading only, so that writing fails.
    stream = _open_null(1, os.O_RDONLY) if before is None else before
    _escape_unencodable(stream)
    sys.stdout = CheckedStream(stream)
    try:
        yield
    finally:
        sys.stdout = before


@contextlib.contextmanager
def checked_stderr() -> Iterator[None]:
    """Replaces stderr for a while: failures are ignored, as there is nowhere to report them; escapes as on stdout.

    A message that cannot be written must not stop a command that works.
    """
    if sys.stdin is None:
        _open_null(0, os.O_RDONLY)
    before: Any = sys.stderr
    stream = _open_null(2, os.O_WRONLY) if before is None else before
    _escape_unencodable(stream)
    sys.stderr = QuietStream(stream)
    try:
        yield
    finally:
        sys.stderr = before


@contextlib.contextmanager
def reserved_stdout() -> Iterator[None]:
    """Reserves stdout for what is written to `results_stream`; whatever else is printed meanwhile goes to stderr.

    Plugins and libraries may print while they are imported, asked and run, from Python or from C: programs that read
    the output of a command must not see it.
    """
    global _results
    if _results is not None:  # reserved already
        yield
        return
    stream = sys.stdout
    stream.flush()
    with contextlib.ExitStack() as stack:
        _results = stack.enter_context(_own_descriptor(stream))
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        try:
            yield
            _results.flush()
        finally:
            _results = None


@contextlib.contextmanager
def released_stdout() -> Iterator[None]:
    """Gives stdout back for the length of a block: to processes that are started in it, and print results."""
    if _descriptor is None:
        yield
        return
    _results.flush()
    reserved = os.dup(1)
    os.dup2(_descriptor, 1)
    try:
        yield
    finally:
        os.dup2(reserved, 1)
        os.close(reserved)


def results_stream() -> Any:
    """Returns the stream for the results of a command."""
    return sys.stdout if _results is None else _results


@contextlib.contextmanager
def _own_descriptor(stream: Any) -> Iterator[Any]:
    """Yields a stream that writes where `stream` does, while descriptor 1 is that of stderr."""
    global _descriptor
    try:
        is_stdout = stream.fileno() == 1
    except (OSError, ValueError, AttributeError):
        is_stdout = False
    if not is_stdout:  # replaced by whoever runs the command in this process, such as a test
        yield stream
        return
    _descriptor = descriptor = os.dup(1)
    own = os.fdopen(descriptor, "w", 1 if stream.isatty() else -1, stream.encoding, stream.errors)
    os.dup2(2, 1)
    try:
        yield CheckedStream(own)
    finally:
        with contextlib.suppress(OSError):  # reported when it was written; nothing more can be
            own.flush()
        os.dup2(descriptor, 1)
        _descriptor = None
        with contextlib.suppress(OSError):
            own.close()


def discard_stdout() -> None:
    """Discards what is still buffered for stdout: Python flushes once more at exit."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _escape_unencodable(stream: Any) -> None:
    """Makes a stream write characters that it cannot encode as escapes; streams of tests have no encoding."""
    if getattr(stream, "errors", None) in ("strict", "surrogateescape"):
        stream.reconfigure(errors="backslashreplace")


def _open_null(descriptor: int, flags: int) -> Any:
    """Opens the null device as a standard stream that is closed, and returns a text stream on it.

    Without it, the next file that is opened would become that descriptor, and libraries would print into it.
    """
    opened = os.open(os.devnull, flags)
    if opened != descriptor:
        os.dup2(opened, descriptor)
        os.close(opened)
    os.set_inheritable(descriptor, True)
    return open(descriptor, "r" if descriptor == 0 else "w", encoding="utf-8", closefd=False)
