"""Makes the images of the next batches in threads, while the network works on the present one."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from zoo.data.loading.transfer import to_device

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from numpy.typing import NDArray
    from torch import Tensor

    Pixels = NDArray[np.uint8]

T = TypeVar("T")
_PIECE = 8  # images that a thread makes in one go: all threads work on the next batch, not each on one of its own
_AHEAD = 2  # batches being made while one is worked on


def images_ahead(
    batches: Iterable[tuple[int, T]],
    make: Callable[[T, slice], Pixels],
    *,
    threads: int,
    device: torch.device,
) -> Iterator[tuple[Tensor, T]]:
    """Yields the images of each batch, made some batches ahead.

    Args:
        batches: Of each batch, how many images it has and what `make` needs to know of it.
        make: Makes the images of a slice of a batch, uint8 ``(n, h, w, 3)``. It is called in threads; an exception is
            raised where its batch would have come.
        threads: That work at a time.
        device: Where the images go.

    Yields:
        uint8 ``(N, 3, h, w)``, channels-last, on the device; and what was known of the batch.
    """
    pool = ThreadPoolExecutor(threads)
    coming = iter(batches)
    pending: deque[tuple[T, list[Future[Pixels]]]] = deque()

    def look_ahead() -> None:
        while len(pending) <= _AHEAD or sum(len(pieces) for _, pieces in pending) < 2 * threads:
            if (batch := next(coming, None)) is None:
                return
            count, known = batch
            slices = [slice(start, min(count, start + _PIECE)) for start in range(0, count, _PIECE)]
            pending.append((known, [pool.submit(make, known, part) for part in slices]))

    try:
        look_ahead()
        while pending:
            known, pieces = pending.popleft()
            images = _joined([piece.result() for piece in pieces], pinned=device.type == "cuda")
            look_ahead()
            yield to_device(images, device).permute(0, 3, 1, 2), known
    finally:
        # Left early by an exception, this may run when garbage is collected, at any place in any thread: also where
        # waiting for a thread would wait for itself.
        pool.shutdown(wait=False, cancel_futures=True)


def _joined(pieces: list[Pixels], *, pinned: bool) -> Tensor:
    """Returns the pieces as one tensor; pinned, so that the device fetches it while the CPU goes on."""
    images = torch.empty((sum(map(len, pieces)), *pieces[0].shape[1:]), dtype=torch.uint8, pin_memory=pinned)
    np.concatenate(pieces, out=images.numpy())
    return images
