"""Batches concurrent predictions, and limits how many may wait. Imports no torch."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from zoo.inference.predictor import Row

    Image = NDArray[np.uint8]

_MAX_WAITING = 128


class BusyError(Exception):
    """Too much is waiting already; try again later."""


class ConcurrencyLimit:
    """Admits a number of requests at a time and rejects more: a request that waits takes memory.

    For one event loop. Unlike `asyncio.Semaphore` it never waits.

    Args:
        limit: Requests at a time.
    """

    def __init__(self, limit: int) -> None:
        self._free = limit

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Takes a slot for the length of a block; raises `BusyError` when all are taken."""
        if not self._free:
            raise BusyError
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


class Batcher:
    """A bounded queue in front of a network, processed batch by batch by one thread.

    A batch is whatever waits when the previous batch is done: an image never waits for others to fill a batch.

    Args:
        compute: Returns the outputs for each of N images, or the error of that image.
        max_batch: Images in a batch.
        max_waiting: Images in the queue; beyond that `submit` raises `BusyError`.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Image]], Iterable[Row | Exception]],
        *,
        max_batch: int,
        max_waiting: int = _MAX_WAITING,
    ) -> None:
        self._compute = compute
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._queue: deque[tuple[Image, Future[Row]]] = deque()
        self._changed = threading.Condition()
        self._open = True
        # A daemon: a server that stops does not finish batches whose clients it has disconnected.
        threading.Thread(target=self._run, name="batcher", daemon=True).start()

    @property
    def waiting(self) -> int:
        """How many images are in the queue."""
        return len(self._queue)

    def submit(self, images: Sequence[Image]) -> list[Future[Row]]:
        """Queues all images or none.

        Each future returns the outputs for its image, or raises what the network raised.

        Raises:
            BusyError: The queue has no room for all of them, or is closed.
        """
        futures: list[Future[Row]] = [Future() for _ in images]
        with self._changed:
            # An empty queue accepts any number: else a request with more images than the limit would always fail.
            if not self._open or (self._queue and len(self._queue) + len(images) > self._max_waiting):
                raise BusyError
            self._queue.extend(zip(images, futures, strict=True))
            self._changed.notify()
        return futures

    def close(self) -> None:
        """Accepts no more images; the thread ends once the queue is empty."""
        with self._changed:
            self._open = False
            self._changed.notify()

    def _run(self) -> None:
        while batch := self._next_batch():
            images, futures = zip(*batch, strict=True)
            try:
                rows = self._compute(images)
            except Exception as error:  # handed to every caller in the batch
                for future in futures:
                    future.set_exception(error)
                continue
            for future, row in zip(futures, rows, strict=True):
                if isinstance(row, Exception):
                    future.set_exception(row)
                else:
                    future.set_result(row)

    def _next_batch(self) -> list[tuple[Image, Future[Row]]]:
        """Waits for images and returns a batch without cancelled ones; an empty list when closed and done."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or not self._open)
                if not self._queue:
                    return []
                batch = [self._queue.popleft() for _ in range(min(self._max_batch, len(self._queue)))]
            if batch := [each for each in batch if each[1].set_running_or_notify_cancel()]:
                return batch
