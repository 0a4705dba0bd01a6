"""Splits a batch into smaller micro-batches when memory runs out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypeVar

import torch
from torch import Tensor

from zoo.errors import TrainingError
from zoo.models.memory_errors import is_out_of_memory
from zoo.models.nested import map_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


def select(images: Any, where: slice | Tensor) -> Any:
    """Returns some images of a batch, which may be cached features: a named tuple of tensors."""
    return map_tensors(lambda tensor: tensor[where], images)


def concatenate(parts: list[Any]) -> Any:
    """Returns images or features that were computed in parts, concatenated along the first dimension."""
    return parts[0] if len(parts) == 1 else map_tensors(lambda *tensors: torch.cat(tensors), *parts)


class Attempt:
    """A context manager for one attempt at a batch: it swallows an out-of-memory error before `commit`.

    Attributes:
        error: The error that ended the attempt, or None.
    """

    def __init__(self) -> None:
        self.error: RuntimeError | None = None
        self._committed = False

    def commit(self) -> None:
        """Marks the attempt as final: errors from here on are raised, because the work cannot be repeated."""
        self._committed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if self._committed or not isinstance(error, RuntimeError) or not is_out_of_memory(error):
            return False
        # Without its traceback: the frames in it hold the tensors of the attempt.
        self.error = error.with_traceback(None)
        return True


class MicroBatches:
    """How many images a network processes at a time. Halved each time memory runs out, and never raised again.

    Args:
        size: Largest number of images in a micro-batch; None for whole batches.
        on_change: Called with the new size each time that it is halved.
    """

    def __init__(self, size: int | None = None, *, on_change: Callable[[int], None] = lambda size: None) -> None:
        self.size = size
        self._on_change = on_change

    def split(self, count: int) -> Iterator[slice]:
        """Yields the micro-batches of a batch of `count` images, as equal in size as possible.

        Equal sizes leave no remainder of a single image, from which a batch normalisation cannot learn.
        """
        number = -(-count // (self.size or count))
        for index in range(number):
            yield slice(count * index // number, count * (index + 1) // number)

    def attempts(self, count: int, *, undo: Callable[[], None] = lambda: None) -> Iterator[Attempt]:
        """Yields attempts at a batch until one succeeds; halves the micro-batches after each that fails.

        Every attempt calls `split` again::

            for attempt in micro_batches.attempts(len(batch)):
                with attempt:
                    return work(micro_batches.split(len(batch)))

        Args:
            count: Number of images in the batch.
            undo: Called before another attempt, to undo the changes of the last one.

        Raises:
            TrainingError: Memory is too small for a single image.
        """
        while True:
            attempt = Attempt()
            yield attempt
            if attempt.error is None:
                return
            self._halve(count, attempt.error)
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()
            undo()

    def _halve(self, count: int, error: RuntimeError) -> None:
        size = min(count, self.size or count)
        if size == 1:
            raise TrainingError(
                "The device's memory is too small for a single image.",
                hint="Lower --image-size, freeze some stages, or choose a smaller backbone.",
            ) from error
        self.size = size // 2
        self._on_change(self.size)
