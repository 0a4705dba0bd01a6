"""Notes what no reader of a file has any business to do: start programs, ask the network, touch what lies elsewhere."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

# What is imported late lies there, and what libraries ask the system for.
_HARMLESS = (
    *(sys.prefix, sys.base_prefix, *filter(os.path.isabs, sys.path), Path(__file__).parents[2]),
    *("/etc/os-release", "/proc", "/sys/fs/cgroup", os.devnull),
)
# https://docs.python.org/3/library/audit_events.html; a pickle finds what it calls by name.
_DEEDS = {
    *("os.exec", "os.fork", "os.forkpty", "os.kill", "os.posix_spawn", "os.putenv", "os.spawn", "os.startfile"),
    *("os.system", "pickle.find_class", "pty.spawn", "socket.bind", "socket.connect", "socket.getaddrinfo"),
    *("subprocess.Popen", "urllib.Request"),
}
# ... and how many of the first arguments are paths.
_TOUCHES = {
    **dict.fromkeys(("open", "os.chmod", "os.listdir", "os.mkdir", "os.remove", "os.rmdir", "os.scandir"), 1),
    **dict.fromkeys(("os.truncate", "shutil.rmtree"), 1),
    **dict.fromkeys(("os.link", "os.rename", "os.symlink", "shutil.copyfile", "shutil.move"), 2),
}


class Watch:
    """What this process does, in Python and in any thread. One a process: an audit hook cannot be taken off again."""

    def __init__(self) -> None:
        self._harmless = tuple(map(Path, map(os.path.realpath, _HARMLESS)))
        self._folder: Path | None = None
        self._noted: list[str] = []
        sys.addaudithook(self._hook)

    @contextmanager
    def kept_inside(self, folder: Path) -> Iterator[None]:
        """Raises `AssertionError` at the end of a block that touched what lies outside of a folder, or did worse.

        Temporary files are made in it, too.
        """
        usual, tempfile.tempdir = tempfile.tempdir, str(folder)
        self._folder, self._noted = Path(os.path.realpath(folder)), []
        try:
            yield
        finally:
            self._folder, tempfile.tempdir = None, usual
        assert not self._noted, self._noted[:3]

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._folder is None:
            return
        if event in _DEEDS:
            self._noted.append(f"{event} {arguments[:2]!r:.200}")
        for path in arguments[: _TOUCHES.get(event, 0)]:
            if isinstance(path, str | bytes | os.PathLike) and not self._inside(Path(os.fsdecode(path))):
                self._noted.append(f"{event} {path!r:.200}")

    def _inside(self, path: Path) -> bool:
        try:
            real = Path(os.path.realpath(path))
        except ValueError:  # a null byte: nothing has such a name
            return True
        return any(real.is_relative_to(place) for place in (self._folder, *self._harmless) if place is not None)
