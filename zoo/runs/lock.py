"""The lock of a run folder, which the process that trains the run holds."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from zoo.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK = ".lock"
_TIMEOUT = 0.5  # seconds: listing the runs holds a lock for an instant


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Locks a run folder for a block, so that no other process trains the run. A process that dies frees its lock.

    Raises:
        RunError: A process is training this run, or the folder cannot be written to.
    """
    import filelock

    lock = filelock.FileLock(folder / LOCK, timeout=_TIMEOUT)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise RunError(f"Another process is training {folder}.", hint="Wait for it, or end it.") from None
    except OSError as error:
        raise RunError(f"Cannot write to {folder}: {error.strerror or error}.", hint="Is it read-only?") from error
    try:
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)
        lock.release()


def is_locked(folder: Path) -> bool:
    """Returns whether a process holds the lock; the operating system releases those of processes that are gone."""
    import filelock

    if not (folder / LOCK).exists():
        return False
    try:
        with filelock.FileLock(folder / LOCK, timeout=0):
            return False
    except (OSError, NotImplementedError):  # held, or in a folder that only others can write to
        return True
