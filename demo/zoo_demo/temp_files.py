"""The folder for this process's temporary files: swept while the process runs, and removed when it ends."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import os
import shutil
import stat
import tempfile
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

_SECONDS_BETWEEN_SWEEPS = 5.0
_MAX_REMEMBERED = 100_000  # names of uploads in use


@dataclass(frozen=True, slots=True, kw_only=True)
class TempLimits:
    """How long files are kept, and how much they may take.

    Attributes:
        seconds: How long to keep a file after its last use.
        unused_seconds: How long to keep an upload that nobody uses.
        max_bytes: Size of all files.
        max_unused_bytes: Size of the uploads that nobody uses.
        max_files: Number of files.
    """

    seconds: float = 3600.0
    unused_seconds: float = 600.0
    max_bytes: int = 1 << 30
    max_unused_bytes: int = 256 << 20
    max_files: int = 20_000


@functools.cache
def temp_folder() -> Path:
    """Returns the folder; the first call creates it."""
    folder = Path(tempfile.mkdtemp(prefix="zoo-demo-")).resolve()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def upload_folder() -> Path:
    """Returns the folder for uploads."""
    return temp_folder() / "gradio" / "uploads"


class _File(NamedTuple):
    """A file, in the order in which files are removed.

    Attributes:
        used: Whether it is in use, or no upload.
        time: When it was written or used last, in seconds.
        size: Bytes.
        path: Where it is.
    """

    used: bool
    time: float
    size: int
    path: Path


class TempFiles:
    """The files in a folder, swept so that they stay within limits.

    Args:
        folder: The folder.
        uploads: The folder below it that uploads arrive in.
        limits: The limits.
    """

    def __init__(self, folder: Path, uploads: Path, limits: TempLimits) -> None:
        self._folder = folder
        self._uploads = uploads
        self._limits = limits
        self._lock = asyncio.Lock()
        self._swept = 0.0

    async def sweep_forever(self) -> None:
        """Keeps sweeping."""
        while True:
            await asyncio.sleep(min(_SECONDS_BETWEEN_SWEEPS, self._limits.unused_seconds / 4))
            await self.sweep_now()

    async def sweep_now(self) -> None:
        """Sweeps in a thread. Callers that wait for a sweep to end share the next one."""
        asked = time.monotonic()
        async with self._lock:
            if self._swept < asked:
                self._swept = time.monotonic()
                await asyncio.to_thread(self.sweep)

    def sweep(self) -> None:
        """Removes files that are too old; then the oldest, unused uploads first, until the others fit the limits."""
        now = time.time()
        kept: list[_File] = []
        for path in _walk(self._folder):
            with contextlib.suppress(OSError):  # gone already, or a folder that is not empty
                status = path.lstat()
                used = not path.is_relative_to(self._uploads) or str(path) in _in_use
                if now - status.st_ctime > (self._limits.seconds if used else self._limits.unused_seconds):
                    path.rmdir() if stat.S_ISDIR(status.st_mode) else path.unlink()
                elif not stat.S_ISDIR(status.st_mode):
                    kept.append(_File(used, status.st_ctime, status.st_size, path))
        self._fit(sorted(kept))

    def _fit(self, files: Sequence[_File]) -> None:
        """Removes the first of some files until the others fit the limits."""
        left = len(files)
        all_bytes = sum(file.size for file in files)
        unused_bytes = sum(file.size for file in files if not file.used)
        for file in files:
            fits = all_bytes <= self._limits.max_bytes and left <= self._limits.max_files
            if fits and (file.used or unused_bytes <= self._limits.max_unused_bytes):
                break
            with contextlib.suppress(OSError):  # its folder may contain others
                file.path.unlink()
                file.path.parent.rmdir()
            left, all_bytes = left - 1, all_bytes - file.size
            unused_bytes -= 0 if file.used else file.size


class SweepAfterUploads:
    """ASGI middleware that sweeps after each upload, so that uploads never outrun the sweeps.

    Args:
        app: The application behind it.
        is_upload: Tells whether a request uploads files.
        files: The files to sweep.
    """

    def __init__(self, app: ASGIApp, *, is_upload: Callable[[Scope], bool], files: TempFiles) -> None:
        self._app = app
        self._is_upload = is_upload
        self._files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, and sweeps if it was an upload, complete or not."""
        try:
            await self._app(scope, receive, send)
        finally:
            if scope["type"] == "http" and self._is_upload(scope):
                await self._files.sweep_now()


_in_use: OrderedDict[str, None] = OrderedDict()


def mark_used(path: Path) -> None:
    """Notes that someone uses an upload: it is kept as long as other files, counted from now."""
    _in_use[str(path)] = None
    _in_use.move_to_end(str(path))
    if len(_in_use) > _MAX_REMEMBERED:
        _in_use.popitem(last=False)
    with contextlib.suppress(OSError):
        os.utime(path)  # changes the time by which sweeps go


def _walk(folder: Path) -> Iterator[Path]:
    """Yields all entries below a folder, the content of each folder before the folder."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path))
            yield Path(entry.path)
