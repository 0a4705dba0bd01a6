"""The folder for temporary files of this process: swept while it runs, and removed when it ends."""

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
def scratch() -> Path:
    """Returns the folder, made on the first call."""
    folder = Path(tempfile.mkdtemp(prefix="zoo-demo-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


async def keep_swept(*, seconds: float) -> None:
    """Removes, for ever, what has been in the folder for longer; what is needed again is made again."""
    while True:
        await asyncio.sleep(seconds / 4)
        await asyncio.to_thread(sweep, scratch(), seconds=seconds)


def sweep(folder: Path, *, seconds: float) -> None:
    """Removes files that have not changed for so long, and folders that have been left empty for so long."""
    oldest = time.time() - seconds
    for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder before the folder
        with contextlib.suppress(OSError):  # it is gone already, or not empty
            if path.lstat().st_ctime < oldest:
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
