"""Detects what a file reader must not do: start programs, use the network, access other paths."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

# Paths of late imports, and of what libraries ask the system.
_ALLOWED_PATHS = (
    *(sys.prefix, sys.base_prefix, *filter(os.path.isabs, sys.path), Path(__file__).parents[2]),
    *("/etc/os-release", "/proc", "/sys/fs/cgroup", os.devnull),
)
# See https://docs.python.org/3/library/audit_events.html. pickle.find_class: a pickle looks up what it calls.
_FORBIDDEN_EVENTS = {
    *("os.exec", "os.fork", "os.forkpty", "os.kill", "os.posix_spawn", "os.putenv", "os.spawn", "os.startfile"),
    *("os.system", "pickle.find_class", "pty.spawn", "socket.bind", "socket.connect", "socket.getaddrinfo"),
    *("subprocess.Popen", "urllib.Request"),
}
# Audit events with paths, and how many of their first arguments are paths.
_PATH_EVENTS = {
    **dict.fromkeys(("open", "os.chmod", "os.listdir", "os.mkdir", "os.remove", "os.rmdir", "os.scandir"), 1),
    **dict.fromkeys(("os.truncate", "shutil.rmtree"), 1),
    **dict.fromkeys(("os.link", "os.rename", "os.symlink", "shutil.copyfile", "shutil.move"), 2),
}


class AuditMonitor:
    """Records forbidden actions of this process, in any thread. One per process: audit hooks cannot be removed."""

    def __init__(self) -> None:
        self._allowed = tuple(map(Path, map(os.path.realpath, _ALLOWED_PATHS)))
        self._folder: Path | None = None
        self._violations: list[str] = []
        sys.addaudithook(self._hook)

    @contextmanager
    def confined_to(self, folder: Path) -> Iterator[None]:
        """Raises `AssertionError` at the end of the block if it accessed paths outside `folder` or did worse.

        Temporary files go into `folder`, too.
        """
        previous, tempfile.tempdir = tempfile.tempdir, str(folder)
        self._folder, self._violations = Path(os.path.realpath(folder)), []
        try:
            yield
        finally:
            self._folder, tempfile.tempdir = None, previous
        assert not self._violations, self._violations[:3]

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._folder is None:
            return
        if event in _FORBIDDEN_EVENTS:
            self._violations.append(f"{event} {arguments[:2]!r:.200}")
        for path in arguments[: _PATH_EVENTS.get(event, 0)]:
            if isinstance(path, str | bytes | os.PathLike) and not self._inside(Path(os.fsdecode(path))):
                self._violations.append(f"{event} {path!r:.200}")

    def _inside(self, path: Path) -> bool:
        try:
            real = Path(os.path.realpath(path))
        except ValueError:  # a null byte: no file has such a name
            return True
        return any(real.is_relative_to(parent) for parent in (self._folder, *self._allowed) if parent is not None)
