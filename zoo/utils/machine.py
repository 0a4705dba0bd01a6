"""The processors, memory and GPUs that this machine or container provides. Imports no torch."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import sys
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")
_PROCESS = Path("/proc/self")


def usable_cpus() -> int:
    """Returns the number of processors available to this process: its CPU affinity, or a container's smaller quota."""
    affinity = getattr(os, "sched_getaffinity", None)  # on Linux only
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # no container, or no limit: "max 100000"
        quota, period = map(int, (_CGROUP / "cpu.max").read_text(encoding="ascii").split())
        count = min(count, math.ceil(quota / period))
    return max(1, count)


def available_memory() -> int | None:
    """Returns the available memory in bytes, or None if the system does not report it (Windows, macOS).

    Free memory would be too little: files that were just read fill the page cache, which the system gives up on demand.
    """
    try:
        kibibytes = _MEMINFO.read_text(encoding="ascii").partition("MemAvailable:")[2].split()[0]
        memory = int(kibibytes) << 10
    except (OSError, IndexError, ValueError):
        return None
    with contextlib.suppress(OSError, ValueError):  # no container, or no limit: "max"
        memory = min(memory, int((_CGROUP / "memory.max").read_text(encoding="ascii")))
    return memory


class PeakMemory:
    """Measures how much memory this process needs from here on, beyond what it has already; on Linux only."""

    def __init__(self) -> None:
        with contextlib.suppress(OSError):  # not allowed: a peak below an earlier one then stays unknown
            (_PROCESS / "clear_refs").write_text("5", encoding="ascii")
        self._start, self._peak = _read_status("VmRSS"), _read_status("VmHWM")

    def read(self) -> int:
        """Returns the bytes that were needed at most so far; 0 if that is unknown."""
        peak = _read_status("VmHWM")
        return peak - self._start if peak > self._peak else 0


def _read_status(field: str) -> int:
    """Returns a size of this process in bytes; 0 if the system does not report it."""
    try:
        return int((_PROCESS / "status").read_text(encoding="ascii").partition(f"{field}:")[2].split()[0]) << 10
    except (OSError, IndexError, ValueError):
        return 0


def nvidia_gpus() -> int | str:
    """Returns the number of GPUs visible to this process, or why the NVIDIA driver is unavailable.

    Calls the driver itself (https://docs.nvidia.com/cuda/cuda-driver-api): that takes no torch and no CUDA library.
    """
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return f"there is no NVIDIA driver ({name})"
    count = ctypes.c_int(0)
    if (status := driver.cuInit(0)) != 0 or (status := driver.cuDeviceGetCount(ctypes.byref(count))) != 0:
        # 100 is CUDA_ERROR_NO_DEVICE
        return 0 if status == 100 else f"the NVIDIA driver cannot be started (CUDA error {status})"
    return count.value
