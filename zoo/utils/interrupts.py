"""Ctrl-C and SIGTERM: both end work in the same way, at once or, where it must not be torn apart, at the next rest."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """SIGTERM came. It ends work as Ctrl-C does; the command line then exits with 143 instead of 130."""


class Interrupts:
    """Takes over both signals for the length of a block; outside it, and in threads other than the main one, nothing.

    Args:
        patient: Whether work that is held back is never torn apart. Else a second signal ends it at once.

    Attributes:
        requested: The signal that came while it was held back; None where none has.
    """

    def __init__(self, *, patient: bool = False) -> None:
        self.requested: int | None = None
        self._patient = patient
        self._held_back = False

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Raises `KeyboardInterrupt` on Ctrl-C and `Terminated` on SIGTERM; a signal that was ignored stays so."""
        before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():  # Python allows handlers in no other
            before = {each: signal.getsignal(each) for each in _SIGNALS}
            before = {each: handler for each, handler in before.items() if handler != signal.SIG_IGN}
        for each in before:
            signal.signal(each, self._receive)
        try:
            yield
        finally:
            for each, handler in before.items():
                # None: it was set outside of Python, and cannot be set again from here.
                signal.signal(each, signal.SIG_DFL if handler is None else handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Only takes note of the first signal within a block, which is to look at `requested` and to `raise_requested`."""
        self._held_back = True
        try:
            yield
        finally:
            self._held_back = False
        if self.requested is not None:
            self.raise_requested()

    def raise_requested(self) -> NoReturn:
        """Raises what the signal that came would have raised."""
        raise Terminated if self.requested == signal.SIGTERM else KeyboardInterrupt

    def _receive(self, number: int, frame: object) -> None:
        first, self.requested = self.requested is None, number
        if not self._held_back or not (first or self._patient):
            self.raise_requested()
