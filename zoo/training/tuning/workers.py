"""Processes that share a study: each shows that it is alive, and finds the trials of those that are not."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import filelock
    from optuna.trial import Trial

WORKER, BEAT = "worker", "beat"  # attributes of a trial that is running
SECONDS_BETWEEN_BEATS = 20.0
GRACE_SECONDS = 180.0  # without a beat, after which a process on another machine counts as dead


class Worker:
    """This process, as one of those that share a study.

    It holds a lock that the operating system frees when the process ends, so that others on this machine know at once;
    those on other machines see that its trial has no recent beat.

    Args:
        folder: Where the locks of this machine are.

    Attributes:
        name: Different for every process.
    """

    def __init__(self, folder: Path) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._folder = folder
        self._lock: filelock.BaseFileLock | None = None

    def __enter__(self) -> Self:
        """Takes the lock."""
        import filelock

        self._lock = filelock.FileLock(self._path(self.name), thread_local=False)
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        """Frees the lock."""
        assert self._lock is not None
        self._path(self.name).unlink(missing_ok=True)
        self._lock.release()

    @contextmanager
    def working_on(self, trial: Trial) -> Iterator[None]:
        """Marks a trial as this process's, and shows every few seconds of the block that it is alive."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(SECONDS_BETWEEN_BEATS):
                with suppress(Exception):  # the database is gone for a moment: the next report to it fails or not
                    trial.set_user_attr(BEAT, time.time())

        trial.set_user_attr(WORKER, self.name)
        trial.set_user_attr(BEAT, time.time())
        thread = threading.Thread(target=beat, name="heartbeat of a trial", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def is_dead(self, attributes: Mapping[str, Any], started: float) -> bool:
        """Returns whether the process of a running trial has ended.

        Args:
            attributes: The attributes of the trial.
            started: When it was started, in seconds since 1970.
        """
        name = attributes.get(WORKER)
        if name == self.name:
            return False
        if isinstance(name, str) and name.startswith(f"{socket.gethostname()}-"):
            lock = self._path(name)
            if lock.parent == self._folder and lock.exists():
                return _is_free(lock)
        return time.time() - float(attributes.get(BEAT, started)) > GRACE_SECONDS

    def _path(self, name: str) -> Path:
        return self._folder / f".{name}.lock"


def _is_free(path: Path) -> bool:
    """Returns whether no process holds a lock, and removes the file if so."""
    import filelock

    try:
        with filelock.FileLock(path, timeout=0):
            path.unlink(missing_ok=True)
            return True
    except (OSError, filelock.Timeout):
        return False
