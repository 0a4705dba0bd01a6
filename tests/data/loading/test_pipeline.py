import threading
import time

import numpy as np
import pytest
import torch

from zoo.data.loading.pipeline import images_ahead

CPU = torch.device("cpu")


def run(batches, make, *, threads=3):
    return images_ahead(batches, make, threads=threads, device=CPU)


def numbered(first, part):
    """Images that hold their own number."""
    numbers = np.arange(part.start, part.stop, dtype=np.uint8) + first
    return np.broadcast_to(numbers[:, None, None, None], (len(numbers), 2, 4, 3))


@pytest.mark.parametrize("threads", [1, 4])
def test_batches_come_whole_and_in_order(threads):
    batches = [(20, 0), (3, 20), (8, 23), (9, 31)]
    made = list(run(batches, numbered, threads=threads))
    assert [known for _, known in made] == [0, 20, 23, 31]
    assert [len(images) for images, _ in made] == [20, 3, 8, 9]
    assert torch.cat([images[:, 0, 0, 0] for images, _ in made]).tolist() == list(range(40))
    assert made[0][0].shape == (20, 3, 2, 4)
    assert made[0][0].is_contiguous(memory_format=torch.channels_last)


def test_several_threads_work_on_one_batch():
    met = threading.Barrier(4, timeout=10)

    def make(known, part):
        met.wait()  # passes only if four pieces are being made at a time
        return numbered(0, part)

    ((images, _),) = run([(32, None)], make, threads=4)
    assert len(images) == 32


def test_the_next_batches_are_made_while_one_is_worked_on():
    made = []

    def make(known, part):
        made.append(known)
        return numbered(0, part)

    batches = run([(1, number) for number in range(20)], make, threads=1)
    next(batches)
    for _ in range(100):
        time.sleep(0.01)
        if len(made) >= 3:
            break
    assert made == [0, 1, 2, 3][: len(made)]
    assert 3 <= len(made) <= 4  # some, and not all
    batches.close()


@pytest.mark.parametrize("error", [ValueError, MemoryError, SystemExit])
@pytest.mark.parametrize("threads", [1, 4])
def test_a_worker_that_dies_is_told_where_its_batch_would_have_come_and_nothing_hangs(error, threads):
    def make(known, part):
        if known == 3:
            raise error("three")
        return numbered(0, part)

    results = run([(1, number) for number in (1, 2, 3, 4)], make, threads=threads)
    assert [next(results)[1], next(results)[1]] == [1, 2]
    with pytest.raises(error, match="three"):
        next(results)


def test_no_batches_are_no_error():
    assert list(run([], numbered)) == []


def test_work_that_is_left_early_is_not_waited_for_and_ends():
    started, goes_on, done = threading.Event(), threading.Event(), []

    def slow(known, part):
        if known:
            started.set()
            goes_on.wait(10)
        done.append(known)
        return numbered(0, part)

    before = set(threading.enumerate())
    results = run([(1, number) for number in range(5)], slow, threads=1)
    next(results)
    started.wait(10)
    results.close()  # with a wait for the thread, garbage collection could wait for itself
    assert done == [0]
    goes_on.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert done == [0, 1]
