"""Tests of the queue in front of a network, and of the limit on concurrent requests."""

from __future__ import annotations

import numpy as np
import pytest
from redness import Redness

from zoo_demo.models.batcher import Batcher, BusyError, ConcurrencyLimit


def test_a_closed_queue_still_computes_what_is_waiting() -> None:
    redness = Redness()
    redness.hold.clear()
    batcher = Batcher(redness.probabilities, max_batch=2)
    futures = batcher.submit([np.full((8, 8, 3), 255, np.uint8)] * 5)

    batcher.close()
    redness.hold.set()

    assert [future.result(10)[0] for future in futures] == [1.0] * 5
    assert max(redness.batches) == 2
    with pytest.raises(BusyError):
        batcher.submit([np.zeros((8, 8, 3), np.uint8)])


def test_an_error_of_the_network_reaches_every_caller() -> None:
    def fail(images: object) -> np.ndarray:
        raise RuntimeError("out of memory")

    batcher = Batcher(fail, max_batch=2)
    for future in batcher.submit([np.zeros((8, 8, 3), np.uint8)] * 2):
        with pytest.raises(RuntimeError, match="out of memory"):
            future.result(10)
    batcher.close()


def test_a_full_queue_rejects_images() -> None:
    redness = Redness()
    redness.hold.clear()
    batcher = Batcher(redness.probabilities, max_batch=1, max_waiting=2)
    image = np.zeros((8, 8, 3), np.uint8)
    futures = batcher.submit([image])
    while batcher.waiting:  # until the first batch is being computed
        pass
    futures += batcher.submit([image, image])

    with pytest.raises(BusyError):
        batcher.submit([image])
    redness.hold.set()
    assert all(future.result(10) is not None for future in futures)
    batcher.close()


def test_the_limit_admits_a_request_for_each_free_slot() -> None:
    limit = ConcurrencyLimit(2)
    with limit.slot():
        with limit.slot(), pytest.raises(BusyError), limit.slot():
            pass
        with pytest.raises(ValueError, match="broken"), limit.slot():  # gives its slot back
            raise ValueError("broken")
        with limit.slot():
            pass
