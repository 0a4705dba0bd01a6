"""Measures the memory of a process and its children from outside, while they run. Linux only."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Self

_PROC = Path("/proc")


class MemoryMonitor:
    """Samples the memory of a process and its descendants in a thread, for the duration of a ``with`` block.

    Args:
        pid: Process to watch.
        seconds: Sampling interval.

    Attributes:
        peak: Largest number of bytes so far, all processes together. Shared pages count once.
    """

    def __init__(self, pid: int, *, seconds: float = 0.2) -> None:
        self.peak = 0
        self._pid = pid
        self._seconds = seconds
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._done.wait(self._seconds):
            self.peak = max(self.peak, sum(map(_memory, find_processes(self._pid))))


def find_processes(pid: int) -> list[int]:
    """Returns a process and all its descendants."""
    found = [pid]
    for parent in found:  # grows during the iteration
        try:
            children = (_PROC / str(parent) / "task" / str(parent) / "children").read_text("ascii").split()
        except OSError:  # the process has ended
            continue
        found += map(int, children)
    return found


def _memory(pid: int) -> int:
    """Returns the proportional set size in bytes: each of n processes counts 1/n of a page that they share."""
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text("ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
