"""Out of memory: the work on a batch is done again in smaller parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from zoo.errors import TrainingError
from zoo.training.memory_errors import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


def some(images: Any, where: slice | Tensor) -> Any:
    """Returns some of a batch's images, which may be kept features: a named tuple of tensors."""
    return images[where] if isinstance(images, Tensor) else type(images)(*(each[where] for each in images))


def join(parts: list[Any]) -> Any:
    """Returns parts, tensors or named tuples of them, as one."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    return torch.cat(parts) if isinstance(first, Tensor) else type(first)(*map(torch.cat, zip(*parts, strict=True)))


class MicroBatches:
    """How many images a network is given at a time. Halved each time memory runs out, and never raised again.

    Args:
        size: Largest count of images in a part; None for whole batches.
        tell: Called with the new size each time that it is halved.
    """

    def __init__(self, size: int | None = None, *, tell: Callable[[int], None] = lambda size: None) -> None:
        self.size = size
        self._tell = tell

    def split(self, count: int) -> Iterator[slice]:
        """Yields the parts of a batch of `count` images, as equal as can be: no part of one image is left over."""
        parts = -(-count // (self.size or count))
        for part in range(parts):
            yield slice(count * part // parts, count * (part + 1) // parts)

    def run(self, work: Callable[[], T], *, count: int, again: Callable[[], None] = lambda: None) -> T:
        """Returns what `work` returns; while memory is too small for it, halves the parts and calls it again.

        Args:
            work: Asks `split` for the parts of its batch, anew in each attempt.
            count: Images of the batch.
            again: Called before each further attempt, to undo what the last one did.

        Raises:
            TrainingError: Memory is too small for a single image.
        """
        while True:
            try:
                return work()
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(count, error)
            # Only here, where the error no longer holds on to the tensors of the attempt, can they be let go.
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()
            again()

    def _halve(self, count: int, error: RuntimeError) -> None:
        was = min(count, self.size or count)
        if was == 1:
            raise TrainingError(
                "The device's memory is too small for a single image.",
                hint="Lower --image-size, freeze some stages, or choose a smaller backbone.",
            ) from error
        self.size = was // 2
        self._tell(self.size)
