"""How the machine is set while a network trains: memory, float32 arithmetic, kernels. All is put back afterwards."""

from __future__ import annotations

import ctypes
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
_TRIM_THRESHOLD, _TRIM_DEFAULT = -1, 128 << 10
_MMAP_MAX, _MMAP_DEFAULT = -4, 65536
_NEVER = 2**31 - 1
# https://docs.kernel.org/scheduler/sched-stats.html
_TASKS = Path("/proc/self/task")


@contextmanager
def tuned_for(precision: Precision) -> Iterator[None]:
    """Sets the machine for training in a precision, and puts everything back at the end."""
    if precision.device.type == "cuda":
        with float32_arithmetic(precision), _timed_kernels():
            yield
    elif precision.device.type == "cpu":
        with keeping_freed_memory():
            yield
    else:
        yield


@contextmanager
def keeping_freed_memory() -> Iterator[None]:
    """Keeps memory that a training step frees for the next step, where the C library is glibc.

    By default glibc asks the system for each large tensor and gives it back at once, and the system clears every page
    anew: 77,000 page faults in a step of resnet18, and a sixth of its time. Not done where the environment sets the
    allocator (``MALLOC_...``, ``GLIBC_TUNABLES``) already.
    """
    chosen = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if chosen or platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        libc.mallopt(_MMAP_MAX, _MMAP_DEFAULT)
        libc.mallopt(_TRIM_THRESHOLD, _TRIM_DEFAULT)
        libc.malloc_trim(0)


def processor_times() -> tuple[int, int] | None:
    """Returns the nanoseconds that the threads of this process ran, and waited for a processor; None but on Linux."""
    ran = waited = 0
    try:
        for file in _TASKS.glob("*/schedstat"):
            task = file.read_text(encoding="ascii").split()
            ran, waited = ran + int(task[0]), waited + int(task[1])
    except (OSError, ValueError, IndexError):  # a thread has just ended, or the kernel does not count
        return None
    return (ran, waited) if ran else None


@contextmanager
def float32_arithmetic(precision: Precision) -> Iterator[None]:
    """Lets float32 products be rounded to TF32 or not; torch by itself does so in convolutions alone. On CUDA only.

    The older of torch's two interfaces: its compiler still reads it, which fails once the newer one has been used.
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
def _timed_kernels() -> Iterator[None]:
    """Lets cuDNN time its algorithms for a shape when it first meets it: a training has two or three shapes in all."""
    before = torch.backends.cudnn.benchmark
    # Which one is fastest may differ from run to run, and with it the rounding.
    torch.backends.cudnn.benchmark = not torch.are_deterministic_algorithms_enabled()
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
