"""The queue before a network."""

from __future__ import annotations

import numpy as np
import pytest
from redness import Redness

from zoo_demo.batcher import Batcher, BusyError


def test_who_waits_is_answered_after_the_queue_is_closed() -> None:
    redness = Redness()
    redness.hold.clear()
    batcher = Batcher(redness.probabilities, at_once=2)
    futures = batcher.submit([np.full((8, 8, 3), 255, np.uint8)] * 5)

    batcher.close()
    redness.hold.set()

    assert [future.result(10)[0] for future in futures] == [1.0] * 5
    assert max(redness.batches) == 2
    with pytest.raises(BusyError):
        batcher.submit([np.zeros((8, 8, 3), np.uint8)])


def test_what_the_network_raises_reaches_every_caller() -> None:
    def fail(images: object) -> np.ndarray:
        raise RuntimeError("out of memory")

    batcher = Batcher(fail)
    for future in batcher.submit([np.zeros((8, 8, 3), np.uint8)] * 2):
        with pytest.raises(RuntimeError, match="out of memory"):
            future.result(10)
    batcher.close()


def test_a_full_queue_lets_nobody_in() -> None:
    redness = Redness()
    redness.hold.clear()
    batcher = Batcher(redness.probabilities, at_once=1, waiting=2)
    image = np.zeros((8, 8, 3), np.uint8)
    futures = batcher.submit([image])
    while batcher.waiting:  # until it is being computed
        pass
    futures += batcher.submit([image, image])

    with pytest.raises(BusyError):
        batcher.submit([image])
    redness.hold.set()
    assert all(future.result(10) is not None for future in futures)
    batcher.close()
