"""Decides when a training saves its state: from time to time, at the end of epochs, and before it stops at a signal."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from zoo.training.distributed.process_group import SINGLE_PROCESS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from zoo.training.distributed.process_group import ProcessGroup
    from zoo.utils.interrupts import Interrupts

_SECONDS_BETWEEN_SAVES = 300.0
_MIN_RATIO = 100  # seconds of training per second of saving: saving takes less than 1 % of the time
_SECONDS_BETWEEN_EXCHANGES = 1.0
_MAX_SKIPPED = 64  # safe points between two exchanges


class Checkpointer:
    """Saves the state of a training at its safe points, which lie between two steps. Outside its block it does nothing.

    With several processes, any of them may receive a signal, and the clock of the main one decides when to save. They
    exchange both about once a second.

    Args:
        save: Saves the state. All processes call it at the same safe point.
        every: Seconds between saves. None: at the end of an epoch, and after five minutes within one, but only as often
            as that takes less than 1 % of the time.
        interrupts: Receives signals; defers them within the block.
        processes: The processes that train together.
        clock: Returns seconds.
    """

    def __init__(
        self,
        save: Callable[[], None],
        *,
        every: float | None,
        interrupts: Interrupts,
        processes: ProcessGroup = SINGLE_PROCESS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._save = save
        self._every = every
        self._interrupts = interrupts
        self._processes = processes
        self._clock = clock
        self._last_save = clock()
        self._cost = 0.0  # seconds of the last save
        self._active = False
        self._stopping = False
        self._last_exchange, self._safe_points, self._exchange_after = clock(), 0, 1

    @contextmanager
    def active(self) -> Iterator[None]:
        """Saves and defers signals within a block; a signal after the last safe point takes effect at its end."""
        with self._interrupts.deferred():
            self._active = True
            try:
                yield
            finally:
                self._active = False

    def safe_point(self) -> None:
        """Saves if it is time to. Saves and stops at a signal. All processes call it at the same safe points.

        Raises:
            KeyboardInterrupt: A signal arrived.
            Exception: The error that the interrupts deferred.
        """
        if not self._active:
            return
        self._safe_points += 1
        if self._processes.is_single or self._safe_points >= self._exchange_after:
            self._save_if_due(at_end=False)
        self.exit_if_requested()

    def end_epoch(self) -> None:
        """Saves at the end of an epoch if it is time to, or at a signal; does not stop yet."""
        self._save_if_due(at_end=True)

    def exit_if_requested(self) -> None:
        """Stops if a signal arrived and the state has been saved since.

        Raises:
            KeyboardInterrupt: Both are so.
            Exception: The error that the interrupts deferred.
        """
        if self._stopping:
            self._interrupts.raise_requested()

    def _save_if_due(self, *, at_end: bool) -> None:
        self._stopping, due = self._exchange(self._interrupts.pending, self._is_due(at_end=at_end))
        if due or self._stopping:
            started = self._clock()
            self._save()
            self._last_save = self._clock()
            self._cost = self._last_save - started

    def _is_due(self, *, at_end: bool) -> bool:
        waited = self._clock() - self._last_save
        if self._every is not None:
            return waited >= self._every
        return waited >= max(_MIN_RATIO * self._cost, 0.0 if at_end else _SECONDS_BETWEEN_SAVES)

    def _exchange(self, stop: bool, due: bool) -> tuple[bool, bool]:
        """Returns whether any process has to stop, and whether it is time to save by the clock of the main one."""
        if self._processes.is_single:
            return stop, due
        now = self._clock()
        per_second = self._safe_points / max(now - self._last_exchange, 1e-9)
        exchange_after = min(max(1, round(per_second * _SECONDS_BETWEEN_EXCHANGES)), _MAX_SKIPPED)
        from_main = (due, exchange_after) if self._processes.is_main else (0, 0)
        stops, dues, agreed = self._processes.all_reduce(stop, *from_main)
        self._last_exchange, self._safe_points, self._exchange_after = now, 0, int(agreed)
        return stops > 0, dues > 0
