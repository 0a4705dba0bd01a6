"""Ctrl-C and SIGTERM: both end the work in the same way, at once or at the end of a block that defers them."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """The process received SIGTERM, which ends the work as Ctrl-C does; the exit code is 143 instead of 130."""


class Interrupts:
    """Handles both signals within a block. Outside the main thread it does nothing.

    Args:
        defer_repeats: Whether a second signal waits like the first. By default it ends a deferring block at once.

    Attributes:
        requested: The signal that arrived while signals were deferred, or None.
    """

    def __init__(self, *, defer_repeats: bool = False) -> None:
        self.requested: int | None = None
        self._defer_repeats = defer_repeats
        self._deferring = False

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Raises `KeyboardInterrupt` on Ctrl-C and `Terminated` on SIGTERM; ignored signals stay ignored."""
        previous: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():  # Python allows handlers in no other thread
            previous = {each: signal.getsignal(each) for each in _SIGNALS}
            previous = {each: handler for each, handler in previous.items() if handler != signal.SIG_IGN}
        for each in previous:
            signal.signal(each, self._receive)
        try:
            yield
        finally:
            for each, handler in previous.items():
                # None is a handler that was not set from Python, and cannot be set from Python.
                signal.signal(each, signal.SIG_DFL if handler is None else handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Defers the first signal to the end of the block, which may look at `requested` and call `raise_requested`."""
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False
        if self.requested is not None:
            self.raise_requested()

    def raise_requested(self) -> NoReturn:
        """Raises the exception of the signal that arrived."""
        raise Terminated if self.requested == signal.SIGTERM else KeyboardInterrupt

    def _receive(self, number: int, frame: object) -> None:
        first, self.requested = self.requested is None, number
        if not self._deferring or not (first or self._defer_repeats):
            self.raise_requested()
