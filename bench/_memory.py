"""The memory that a process and all its children take, watched from outside while they run. Linux alone."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Self

_PROC = Path("/proc")


class ProgressMonitor:
    """Looks at a process and its children now and then, in a thread, for the length of a block.

    Args:
        pid: The process.
        seconds: Between looks.

    Attributes:
        peak: Most bytes seen so far, of all processes together; pages that several share count once.
    """

    def __init__(self, pid: int, *, seconds: float = 0.2) -> None:
        self.peak = 0
        self._pid = pid
        self._seconds = seconds
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(self._seconds):
            self.peak = max(self.peak, sum(map(_memory, family(self._pid))))


def family(pid: int) -> list[int]:
    """Returns a process and all that descend from it."""
    found = [pid]
    for parent in found:  # grows while it is gone through
        try:
            children = (_PROC / str(parent) / "task" / str(parent) / "children").read_text("ascii").split()
        except OSError:  # it has ended
            continue
        found += map(int, children)
    return found


def _memory(pid: int) -> int:
    """Returns the proportional set size in bytes: a page that n processes share counts one n-th for each."""
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text("ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
