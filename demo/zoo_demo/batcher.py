"""Answers many callers with few runs of a network: whoever waits at the same time shares a batch. Imports no torch."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]
    Row = NDArray[np.float32]

MOST_AT_ONCE = 32
MOST_WAITING = 128


class BusyError(Exception):
    """As many images wait as may; come back later."""


class Batcher:
    """A queue of bounded length before a network, emptied by one thread, batch by batch.

    A batch is whatever waits when the one before it is done: alone, an image never waits for company.

    Args:
        work: Makes ``(N, classes)`` of N images.
        at_once: Images a batch at most.
        waiting: Images that wait at most; beyond it `submit` raises `BusyError`.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Image]], NDArray[np.float32]],
        *,
        at_once: int = MOST_AT_ONCE,
        waiting: int = MOST_WAITING,
    ) -> None:
        self._work = work
        self._at_once = at_once
        self._most = waiting
        self._queue: deque[tuple[Image, Future[Row]]] = deque()
        self._changed = threading.Condition()
        self._open = True
        # A daemon: a server that is stopped does not wait for a batch that nobody waits for.
        threading.Thread(target=self._run, name="batcher", daemon=True).start()

    @property
    def waiting(self) -> int:
        """How many images wait now."""
        return len(self._queue)

    def submit(self, images: Sequence[Image]) -> list[Future[Row]]:
        """Queues images, all or none; each future gives its row ``(classes,)``, or raises what the network raised.

        Raises:
            BusyError: The queue has no room for all of them, or is closed.
        """
        futures: list[Future[Row]] = [Future() for _ in images]
        with self._changed:
            # A request of more images than may ever wait is served when it is alone.
            if not self._open or (self._queue and len(self._queue) + len(images) > self._most):
                raise BusyError
            self._queue.extend(zip(images, futures, strict=True))
            self._changed.notify()
        return futures

    def close(self) -> None:
        """Ends the thread once who waits already has been answered; nobody else is let in."""
        with self._changed:
            self._open = False
            self._changed.notify()

    def _run(self) -> None:
        while batch := self._next():
            images, futures = zip(*batch, strict=True)
            try:
                rows = self._work(images)
            except Exception as error:  # it is the callers', all of them, who have to know
                for future in futures:
                    future.set_exception(error)
            else:
                for future, row in zip(futures, rows, strict=True):
                    future.set_result(row)

    def _next(self) -> list[tuple[Image, Future[Row]]]:
        """Waits for images and returns the next batch; an empty one at the end. Cancelled ones are dropped."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or not self._open)
                if not self._queue:
                    return []
                taken = [self._queue.popleft() for _ in range(min(self._at_once, len(self._queue)))]
            if batch := [each for each in taken if each[1].set_running_or_notify_cancel()]:
                return batch
