import pytest
import torch

from zoo.errors import TrainingError
from zoo.plugins.contracts import Features
from zoo.training.memory_errors import is_out_of_memory
from zoo.training.micro_batches import MicroBatches, concatenate, select


def attempt_all(micro_batches, work, **how):
    """Returns what the first attempt that succeeds returns."""
    for attempt in micro_batches.attempts(**how):
        with attempt:
            return work()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tri"
        ),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] data. DefaultCPUAllocator: not enough memory: you tried"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
        torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    ],
)
def test_each_device_says_in_its_own_way_that_its_memory_is_too_small(error):
    assert is_out_of_memory(error)


def test_what_the_cpu_allocator_really_says_is_understood():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**46)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("memory")])
def test_other_errors_are_not_taken_for_it(error):
    assert not is_out_of_memory(error)
    with pytest.raises(type(error)):
        attempt_all(MicroBatches(), lambda: (_ for _ in ()).throw(error), count=4)


def test_parts_are_as_equal_as_can_be_and_miss_nothing():
    def sizes(count, size):
        parts = list(MicroBatches(size).split(count))
        assert [i for part in parts for i in range(part.start, part.stop)] == list(range(count))
        return [part.stop - part.start for part in parts]

    assert sizes(32, None) == [32]
    assert sizes(32, 16) == [16, 16]
    assert sizes(33, 16) == [11, 11, 11]  # not 16, 16 and 1: batch normalisation cannot learn from one
    assert sizes(7, 3) == [2, 2, 3]
    assert sizes(3, 8) == [3]


def test_work_is_done_again_in_halves_until_it_fits():
    told, undone = [], []
    micro_batches = MicroBatches(on_change=told.append)

    def work():
        sizes = [part.stop - part.start for part in micro_batches.split(20)]
        if max(sizes) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return sizes

    assert attempt_all(micro_batches, work, count=20, undo=lambda: undone.append(True)) == [5, 5, 5, 5]
    assert told == [10, 5]
    assert len(undone) == 2
    assert micro_batches.size == 5


def test_what_an_attempt_held_is_let_go_before_the_next():
    class Held:
        alive = 0

        def __init__(self):
            Held.alive += 1

        def __del__(self):
            Held.alive -= 1

    micro_batches, alive = MicroBatches(), []

    def work():
        alive.append(Held.alive)
        held = Held()
        if micro_batches.size != 1:
            raise torch.OutOfMemoryError(f"no room for {held}")

    attempt_all(micro_batches, work, count=4)
    assert alive == [0, 0, 0]


def test_memory_too_small_for_one_image_is_told():
    def work():
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(TrainingError, match="too small for a single image") as caught:
        attempt_all(MicroBatches(), work, count=8)
    assert "--image-size" in caught.value.hint
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)


def test_kept_features_are_taken_apart_and_joined_like_images():
    features = Features(torch.arange(6.0).view(3, 2), torch.arange(12.0).view(3, 4, 1, 1))
    joined = concatenate([select(features, slice(0, 1)), select(features, slice(1, 3))])
    assert isinstance(joined, Features)
    assert torch.equal(joined.pooled, features.pooled)
    assert torch.equal(joined.map, features.map)
