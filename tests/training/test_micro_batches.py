import pytest
import torch

from zoo.errors import TrainingError
from zoo.plugins.contracts import Features
from zoo.training.micro_batches import MicroBatches, concatenate, select


def run_attempts(micro_batches, work, **options):
    """Returns the result of the first attempt that succeeds."""
    for attempt in micro_batches.attempts(**options):
        with attempt:
            return work()
    raise AssertionError("unreachable")


def test_micro_batches_are_as_equal_as_possible_and_cover_the_batch():
    def sizes(count, size):
        slices = list(MicroBatches(size).split(count))
        assert [i for each in slices for i in range(each.start, each.stop)] == list(range(count))
        return [each.stop - each.start for each in slices]

    assert sizes(32, None) == [32]
    assert sizes(32, 16) == [16, 16]
    assert sizes(33, 16) == [11, 11, 11]  # not 16, 16 and 1: batch normalisation needs two images
    assert sizes(7, 3) == [2, 2, 3]
    assert sizes(3, 8) == [3]


def test_work_is_repeated_in_halves_until_it_fits():
    changes, undone = [], []
    micro_batches = MicroBatches(on_change=changes.append)

    def work():
        sizes = [each.stop - each.start for each in micro_batches.split(20)]
        if max(sizes) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return sizes

    assert run_attempts(micro_batches, work, count=20, undo=lambda: undone.append(True)) == [5, 5, 5, 5]
    assert changes == [10, 5]
    assert len(undone) == 2
    assert micro_batches.size == 5


def test_a_failed_attempt_is_freed_before_the_next():
    class Counted:
        alive = 0

        def __init__(self):
            Counted.alive += 1

        def __del__(self):
            Counted.alive -= 1

    micro_batches, alive = MicroBatches(), []

    def work():
        alive.append(Counted.alive)
        counted = Counted()
        if micro_batches.size != 1:
            raise torch.OutOfMemoryError(f"no memory for {counted}")

    run_attempts(micro_batches, work, count=4)
    assert alive == [0, 0, 0]


def test_an_error_after_the_commit_is_raised():
    micro_batches = MicroBatches()
    with pytest.raises(torch.OutOfMemoryError):  # noqa: PT012 - the loop is part of the interface
        for attempt in micro_batches.attempts(4):
            with attempt:
                attempt.commit()
                raise torch.OutOfMemoryError("CUDA out of memory")
    assert micro_batches.size is None


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("memory")])
def test_other_errors_are_raised(error):
    def fail():
        raise error

    with pytest.raises(type(error)):
        run_attempts(MicroBatches(), fail, count=4)


def test_a_memory_too_small_for_a_single_image_is_an_error():
    def fail():
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(TrainingError, match="too small for a single image") as caught:
        run_attempts(MicroBatches(), fail, count=8)
    assert "--image-size" in caught.value.hint
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)


def test_cached_features_are_selected_and_concatenated_like_images():
    features = Features(torch.arange(6.0).view(3, 2), torch.arange(12.0).view(3, 4, 1, 1))
    joined = concatenate([select(features, slice(0, 1)), select(features, slice(1, 3))])
    assert isinstance(joined, Features)
    assert torch.equal(joined.pooled, features.pooled)
    assert torch.equal(joined.map, features.map)
