import threading
import time

import numpy as np
import pytest
import torch

from zoo.data.loading.pipeline import prefetch_images, to_device

CPU = torch.device("cpu")


def run(batches, make, *, threads=3):
    return prefetch_images(batches, make, threads=threads, device=CPU)


def numbered(first, some):
    """Images that hold their own number."""
    numbers = np.arange(some.start, some.stop, dtype=np.uint8) + first
    return np.broadcast_to(numbers[:, None, None, None], (len(numbers), 2, 4, 3))


@pytest.mark.parametrize("threads", [1, 4])
def test_batches_are_complete_and_in_order(threads):
    batches = [(20, 0), (3, 20), (8, 23), (9, 31)]
    made = list(run(batches, numbered, threads=threads))
    assert [value for _, value in made] == [0, 20, 23, 31]
    assert [len(images) for images, _ in made] == [20, 3, 8, 9]
    assert torch.cat([images[:, 0, 0, 0] for images, _ in made]).tolist() == list(range(40))
    assert made[0][0].shape == (20, 3, 2, 4)
    assert made[0][0].is_contiguous(memory_format=torch.channels_last)


def test_several_threads_work_on_one_batch():
    met = threading.Barrier(4, timeout=10)

    def make(value, some):
        met.wait()  # passes only if four chunks are in progress at a time
        return numbered(0, some)

    ((images, _),) = run([(32, None)], make, threads=4)
    assert len(images) == 32


def test_the_next_batches_are_made_during_the_current_one():
    made = []

    def make(value, some):
        made.append(value)
        return numbered(0, some)

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
def test_the_exception_of_a_worker_is_raised_when_its_batch_is_due(error, threads):
    def make(value, some):
        if value == 3:
            raise error("three")
        return numbered(0, some)

    results = run([(1, number) for number in (1, 2, 3, 4)], make, threads=threads)
    assert [next(results)[1], next(results)[1]] == [1, 2]
    with pytest.raises(error, match="three"):
        next(results)


def test_no_batches_yield_nothing():
    assert list(run([], numbered)) == []


def test_closing_early_neither_waits_for_threads_nor_leaks_them():
    started, goes_on, done = threading.Event(), threading.Event(), []

    def slow(value, some):
        if value:
            started.set()
            goes_on.wait(10)
        done.append(value)
        return numbered(0, some)

    before = set(threading.enumerate())
    results = run([(1, number) for number in range(5)], slow, threads=1)
    next(results)
    started.wait(10)
    results.close()  # waiting for the thread here could deadlock garbage collection
    assert done == [0]
    goes_on.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert done == [0, 1]


class Spy:
    """Stands in for a tensor; returns the arguments of the copy."""

    def to(self, device, **options):
        return device, options


@pytest.mark.parametrize(("name", "blocks"), [("cuda:1", False), ("mps", True), ("cpu", True)])
def test_only_copies_to_cuda_do_not_block(name, blocks):
    assert to_device(Spy(), torch.device(name)) == (torch.device(name), {"non_blocking": not blocks})


def test_values_are_copied():
    values = torch.arange(5)
    assert torch.equal(to_device(values, torch.device("cpu")), values)
    assert to_device(values, torch.device("meta")).device.type == "meta"
