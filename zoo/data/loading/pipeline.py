"""Makes the images of the next batches in threads and copies them to the device while the network works."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from torch import Tensor

    from zoo.data.images.decode import Pixels

T = TypeVar("T")
_CHUNK = 8  # images per task: all threads work on the next batch together, instead of one batch per thread
_AHEAD = 2  # batches in progress besides the current one


def prefetch_images(
    batches: Iterable[tuple[int, T]],
    make: Callable[[T, slice], Pixels],
    *,
    threads: int,
    device: torch.device,
) -> Iterator[tuple[Tensor, T]]:
    """Yields the images of each batch, made a few batches ahead.

    Args:
        batches: For each batch, the number of its images and a value for `make`.
        make: Makes the images of a slice of a batch, uint8 ``(n, h, w, 3)``. Called in threads; its exception is raised
            when its batch is due.
        threads: Number of threads.
        device: Where the images go.

    Yields:
        uint8 ``(N, 3, h, w)``, channels-last, on the device; and the value of the batch.
    """
    pool = ThreadPoolExecutor(threads)
    coming = iter(batches)
    pending: deque[tuple[T, list[Future[Pixels]]]] = deque()

    def submit_ahead() -> None:
        while len(pending) <= _AHEAD or sum(len(chunks) for _, chunks in pending) < 2 * threads:
            if (batch := next(coming, None)) is None:
                return
            count, value = batch
            slices = [slice(start, min(count, start + _CHUNK)) for start in range(0, count, _CHUNK)]
            pending.append((value, [pool.submit(make, value, each) for each in slices]))

    try:
        submit_ahead()
        while pending:
            value, chunks = pending.popleft()
            images = _join([chunk.result() for chunk in chunks], pinned=device.type == "cuda")
            submit_ahead()
            yield to_device(images, device).permute(0, 3, 1, 2), value
    finally:
        # After an exception in the caller, this may run during garbage collection, anywhere and in any thread: also
        # where waiting for a thread would wait for itself.
        pool.shutdown(wait=False, cancel_futures=True)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copies a CPU tensor to a device without waiting for the device's pending work.

    ``torch.tensor(values, device="cuda")`` and ``tensor.to("cuda")`` wait for all work queued on the device, and there
    should always be some (https://github.com/pytorch/pytorch/issues/120996). A non-blocking copy is safe with CUDA: it
    has read the tensor when this returns, or torch keeps pinned memory alive until it has. On MPS it is not: the copy
    may see later writes to the tensor (https://github.com/pytorch/pytorch/issues/189690), so that copy blocks.
    """
    return tensor.to(device, non_blocking=device.type == "cuda")


def _join(chunks: list[Pixels], *, pinned: bool) -> Tensor:
    """Returns the chunks as one tensor; pinned memory lets the device fetch it while the CPU goes on."""
    images = torch.empty((sum(map(len, chunks)), *chunks[0].shape[1:]), dtype=torch.uint8, pin_memory=pinned)
    np.concatenate(chunks, out=images.numpy())
    return images
