"""Errors of a machine that has run out of memory or threads, with advice."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from zoo.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator


# torch's own CUDA allocator raises torch.OutOfMemoryError. Everything else that allocates memory (a library, the
# driver, the CPU, MPS) raises a RuntimeError that only its message identifies; on Windows the CPU's differs.
_WORDS = (
    "can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "MPS backend out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error means that the memory of a device is too small."""
    import torch  # not at the top: 'finetune' imports this module before it has to wait for torch

    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)
    )


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turns what Python and torch raise in a block when a resource runs out into an error with advice.

    Raises:
        TrainingError: The memory of the machine or of a device ran out, or no thread can be started.
    """
    try:
        yield
    except MemoryError as error:
        raise TrainingError(
            f"The memory of this machine is too small: {error or 'nothing is left'}.",
            hint="Lower --cache-size, --batch-size or --workers, or pass --cache disk.",
        ) from error
    except RuntimeError as error:
        if "can't start new thread" in str(error):
            raise TrainingError(f"Cannot start another thread: {error}.", hint="Lower --workers.") from error
        if not is_out_of_memory(error):
            raise
        raise TrainingError(  # where smaller micro-batches do not help: weights, optimizer states, cached features
            f"The device's memory is too small: {str(error).strip()}",
            hint="Lower --batch-size or --image-size, freeze some stages, or choose a smaller backbone.",
        ) from error
