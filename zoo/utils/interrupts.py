"""Ctrl-C, SIGTERM and SIGHUP: all end the work in the same way, at once or at the end of a block that defers them."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar

from zoo.errors import ZooError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

# Sent when the terminal of a process closes; Windows has no such signal.
HANGUP: int | None = getattr(signal, "SIGHUP", None)
SIGNALS: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM, *(() if HANGUP is None else (HANGUP,)))


class Terminated(KeyboardInterrupt):
    """The process received SIGTERM or SIGHUP, which end the work as Ctrl-C does.

    Args:
        number: The signal. The exit code is 128 more, 143 or 129; that of Ctrl-C is 130.
    """

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__()
        self.number = number


class Interrupts:
    """Handles the signals within a block. Outside the main thread it does nothing.

    Args:
        defer_repeats: Whether a second signal waits like the first. By default it ends a deferring block at once, but a
            SIGHUP never does: both the terminal and the shell send one when a window is closed.

    Attributes:
        requested: The signal that arrived while signals were deferred, or None.
        error: What a function of `defer_errors` raised while signals were deferred, or None.
    """

    _active: ClassVar[list[Interrupts]] = []  # the blocks of `handled`, outer ones first

    def __init__(self, *, defer_repeats: bool = False) -> None:
        self.requested: int | None = None
        self.error: Exception | None = None
        self._defer_repeats = defer_repeats
        self._deferring = False

    @property
    def pending(self) -> bool:
        """Whether the work has to end: there is a signal or an error to raise."""
        return self.requested is not None or self.error is not None

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Raises `KeyboardInterrupt` on Ctrl-C, `Terminated` on the others; ignored signals stay ignored."""
        previous: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():  # Python allows handlers in no other thread
            previous = {each: signal.getsignal(each) for each in SIGNALS}
            previous = {each: handler for each, handler in previous.items() if handler != signal.SIG_IGN}
            Interrupts._active.append(self)
        for each in previous:
            signal.signal(each, self._receive)
        try:
            yield
        finally:
            for each, handler in previous.items():
                # None is a handler that was not set from Python, and cannot be set from Python.
                signal.signal(each, signal.SIG_DFL if handler is None else handler)
            if self in Interrupts._active:
                Interrupts._active.remove(self)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Defers the first signal to the end of the block, which may look at `pending` and call `raise_requested`."""
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False
        if self.pending:
            self.raise_requested()

    def defer_errors(self, function: Callable[[T], object]) -> Callable[[T], None]:
        """Returns a function whose errors are deferred like signals: after the first one it is not called any more.

        For what reports progress: a terminal that was closed or a full disk costs none of the work already done.
        """

        def call(argument: T) -> None:
            if self._deferring and self.error is not None:
                return
            try:
                function(argument)
            except (ZooError, OSError) as error:
                if not self._deferring:
                    raise
                self.error = error

        return call

    def raise_requested(self) -> NoReturn:
        """Raises the exception of the signal that arrived, or the error that was deferred."""
        number = self.requested
        if number is None and self.error is not None:
            raise self.error
        raise KeyboardInterrupt if number is None or number == signal.SIGINT else Terminated(number)

    def _receive(self, number: int, frame: object) -> None:
        first = self.requested is None
        if number == HANGUP and not first:
            return
        for each in Interrupts._active:  # an outer block ignores the second SIGHUP while an inner one unwinds
            each.requested = number
        self.requested = number
        if not self._deferring or not (first or self._defer_repeats):
            self.raise_requested()
