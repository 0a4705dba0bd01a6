"""Tells of a machine that has run out of memory or threads, and what to do about it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from zoo.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator


# torch's own allocator on CUDA raises torch.OutOfMemoryError. Whatever else asks for memory, a library, the driver, the
# CPU (on Windows in other words), MPS, raises a RuntimeError that can be told by its words alone.
_WORDS = (
    "can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "MPS backend out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error says that a device's memory is too small."""
    import torch  # here, where there is a device to run out of memory it is imported already

    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)
    )


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turns what Python and torch raise within a block, where there is too little of something, into an error.

    Raises:
        TrainingError: Memory, of the machine or of a device, or threads have run out.
    """
    try:
        yield
    except MemoryError as error:
        raise TrainingError(
            f"The memory of this machine is too small: {error or 'nothing is left'}.",
            hint="Lower --cache-size, --batch-size or --workers, or say --cache disk.",
        ) from error
    except RuntimeError as error:
        if "can't start new thread" in str(error):
            raise TrainingError(f"No further thread can be started: {error}.", hint="Lower --workers.") from error
        if not is_out_of_memory(error):
            raise
        raise TrainingError(  # where fewer images at a time would not help: the weights, the optimiser, kept features
            f"The device's memory is too small: {str(error).strip()}",
            hint="Lower --batch-size or --image-size, freeze some stages, or choose a smaller backbone.",
        ) from error
