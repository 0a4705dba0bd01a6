"""When a training saves its state: now and then, at the end of epochs, and before it stops because it was asked to."""

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
_LEAST_RATIO = 100  # Seconds of training for a second of saving: it costs less than 1 % of the time.
_SECONDS_BETWEEN_TALKS = 1.0
_MOST_SILENT = 64  # rests


class Checkpointer:
    """Saves where a training rests: between two steps, with its state whole. Outside of its block nothing is saved.

    Of several processes any may be asked to stop, and the clock of the first decides; they talk about it once a second.

    Args:
        save: Saves the state. Every process calls it, at the same place.
        every: Seconds between saves. None: at the end of an epoch, and within one after five minutes; but only as
            often as costs less than 1 % of the time.
        interrupts: Asks to stop. Held back within the block.
        processes: Those that train together.
        clock: Tells seconds.
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
        self._last = clock()
        self._cost = 0.0
        self._active = False
        self._leaving = False
        self._talked, self._safe_points, self._silence = clock(), 0, 1

    @contextmanager
    def active(self) -> Iterator[None]:
        """Holds back signals and saves within a block. A signal that comes after its last safe_point is obeyed at its end."""
        with self._interrupts.deferred():
            self._active = True
            try:
                yield
            finally:
                self._active = False

    def safe_point(self) -> None:
        """Saves if it is time to, or if a signal asks to stop; and then stops. Called at each safe_point, by every process.

        Raises:
            KeyboardInterrupt: A signal asked for it.
        """
        if not self._active:
            return
        self._safe_points += 1
        if self._processes.is_single or self._safe_points >= self._silence:
            self._attend(at_end=False)
        self.exit_if_requested()

    def end_epoch(self) -> None:
        """Saves at the end of an epoch if it is time to, or if a signal asks to stop; does not stop yet."""
        self._attend(at_end=True)

    def exit_if_requested(self) -> None:
        """Stops if a signal asked for it, and the state was saved since.

        Raises:
            KeyboardInterrupt: It has.
        """
        if self._leaving:
            self._interrupts.raise_requested()

    def _attend(self, *, at_end: bool) -> None:
        self._leaving, due = self._talk(self._interrupts.requested is not None, self._is_due(at_end=at_end))
        if due or self._leaving:
            started = self._clock()
            self._save()
            self._last = self._clock()
            self._cost = self._last - started

    def _is_due(self, *, at_end: bool) -> bool:
        waited = self._clock() - self._last
        if self._every is not None:
            return waited >= self._every
        return waited >= max(_LEAST_RATIO * self._cost, 0.0 if at_end else _SECONDS_BETWEEN_SAVES)

    def _talk(self, leave: bool, due: bool) -> tuple[bool, bool]:
        """Returns whether any process wants to leave and whether the first finds it is time to save."""
        if self._processes.is_single:
            return leave, due
        now = self._clock()
        pace = self._safe_points / max(now - self._talked, 1e-9)
        silence = min(max(1, round(pace * _SECONDS_BETWEEN_TALKS)), _MOST_SILENT)
        mine = (due, silence) if self._processes.is_main else (0, 0)
        leaves, saves, agreed = self._processes.all_reduce(leave, *mine)
        self._talked, self._safe_points, self._silence = now, 0, int(agreed)
        return leaves > 0, saves > 0
