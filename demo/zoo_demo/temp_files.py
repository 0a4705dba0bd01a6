"""The folder for this process's temporary files: swept while the process runs, and removed when it ends."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import shutil
import tempfile
import time
from pathlib import Path


@functools.cache
def temp_folder() -> Path:
    """Returns the folder; the first call creates it."""
    folder = Path(tempfile.mkdtemp(prefix="zoo-demo-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


async def sweep_forever(*, seconds: float) -> None:
    """Keeps removing files older than `seconds` from the folder."""
    while True:
        await asyncio.sleep(seconds / 4)
        await asyncio.to_thread(sweep, temp_folder(), seconds=seconds)


def sweep(folder: Path, *, seconds: float) -> None:
    """Removes the files in a folder that have not changed for `seconds`, and folders that have been empty that long."""
    oldest = time.time() - seconds
    for path in sorted(folder.rglob("*"), reverse=True):  # the content of a folder before the folder
        with contextlib.suppress(OSError):  # gone already, or not empty
            if path.lstat().st_ctime < oldest:
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
