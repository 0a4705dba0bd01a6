"""What this machine, or the container, has to give: processors, memory and GPUs. Imports no torch."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import sys
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def usable_cpus() -> int:
    """Returns how many processors this process may keep busy: those it is bound to, or a container's smaller share."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # no container, or one without a limit ("max 100000")
        quota, period = map(int, (_CGROUP / "cpu.max").read_text(encoding="ascii").split())
        count = min(count, math.ceil(quota / period))
    return max(1, count)


def available_memory() -> int | None:
    """Returns the bytes of memory to be had, or None where the system does not tell (Windows, macOS).

    Not what is free: the photos that were just read fill the page cache, which gives way.
    """
    try:
        told = _MEMINFO.read_text(encoding="ascii").partition("MemAvailable:")[2].split()[0]
        memory = int(told) << 10
    except (OSError, IndexError, ValueError):
        return None
    with contextlib.suppress(OSError, ValueError):  # no container, or one without a limit ("max")
        memory = min(memory, int((_CGROUP / "memory.max").read_text(encoding="ascii")))
    return memory


def nvidia_gpus() -> int | str:
    """Returns how many GPUs the NVIDIA driver lets this process see, or why there is no driver.

    Asked of the driver itself (https://docs.nvidia.com/cuda/cuda-driver-api), so that neither torch nor a CUDA
    library is needed.
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
