"""Settings of the process while a network runs: memory, float32 precision, kernels. All are restored afterwards."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zoo.models.precision import Precision

# Parameters of glibc's mallopt(3), from malloc.h, and their defaults there.
_TRIM_THRESHOLD, _DEFAULT_TRIM_THRESHOLD = -1, 128 << 10
_MMAP_MAX, _DEFAULT_MMAP_MAX = -4, 65536
_NEVER_TRIM = 2**31 - 1
_MAX_WAITING = 0.2  # of the time that threads ran, above which a measurement on a CPU says little
# https://docs.kernel.org/scheduler/sched-stats.html
_TASKS = Path("/proc/self/task")


@contextmanager
def tuned_runtime(precision: Precision) -> Iterator[None]:
    """Applies the fastest settings for training in a precision inside the block."""
    if precision.device.type == "cuda":
        with float32_precision(precision), _benchmarked_kernels():
            yield
    elif precision.device.type == "cpu":
        with keep_freed_memory():
            yield
    else:
        yield


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Keeps the memory that a training step frees for the next step, if the C library is glibc.

    By default, glibc requests memory from the system for each large tensor and returns it at once, and the system
    clears every page again: 77,000 page faults per step of resnet18, a sixth of its time. Does nothing if the
    environment configures the allocator (``MALLOC_...``, ``GLIBC_TUNABLES``).
    """
    configured = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if configured or platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, _NEVER_TRIM)
    try:
        yield
    finally:
        libc.mallopt(_MMAP_MAX, _DEFAULT_MMAP_MAX)
        libc.mallopt(_TRIM_THRESHOLD, _DEFAULT_TRIM_THRESHOLD)
        libc.malloc_trim(0)


def release_memory() -> None:
    """Collects garbage, and returns freed memory to the system if the C library is glibc.

    Networks and sessions refer to each other, so they are freed only when garbage is collected.
    """
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def read_thread_times() -> tuple[int, int] | None:
    """Returns how long the threads of this process ran and waited for a processor, in ns; None except on Linux."""
    ran = waited = 0
    try:
        for file in _TASKS.glob("*/schedstat"):
            task = file.read_text(encoding="ascii").split()
            ran, waited = ran + int(task[0]), waited + int(task[1])
    except (OSError, ValueError, IndexError):  # a thread has just ended, or the kernel keeps no statistics
        return None
    return (ran, waited) if ran else None


def waited_long(before: tuple[int, int] | None, after: tuple[int, int] | None) -> bool:
    """Returns whether other work kept the threads of this process waiting between two calls of `read_thread_times`."""
    if before is None or after is None:
        return False
    ran, waited = after[0] - before[0], after[1] - before[1]
    return waited > _MAX_WAITING * ran


@contextmanager
def float32_precision(precision: Precision) -> Iterator[None]:
    """Allows or forbids TF32 for float32 products on CUDA inside the block; torch's default is TF32 in convolutions.

    This uses the older of torch's two interfaces, because its compiler still reads the older one, which fails once the
    newer one was used.
    """
    if precision.device.type != "cuda":
        yield
        return
    matmul, convolution = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if precision.name == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision.name == "tf32"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = convolution


@contextmanager
def _benchmarked_kernels() -> Iterator[None]:
    """Lets cuDNN benchmark its algorithms for each new shape; in training there are only two or three."""
    before = torch.backends.cudnn.benchmark
    # The fastest algorithm, and thus the rounding, may differ from run to run.
    torch.backends.cudnn.benchmark = not torch.are_deterministic_algorithms_enabled()
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
