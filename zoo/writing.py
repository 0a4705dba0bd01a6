"""Makes sure that what was written is on the disk, and clears away what a killed process left half written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def flush(folder: Path, names: Iterable[str] = ()) -> None:
    """Returns when files, as far as they are there, and their names in the folder are on the disk, power lost or not.

    A rename is safe only when the folder is flushed too, see fsync(2). Windows, where a folder cannot be, does it by
    itself.
    """
    for name in names:
        if (folder / name).exists():
            _flush(folder / name)
    if os.name == "posix":
        _flush(folder)


def sweep(folder: Path, names: Iterable[str]) -> None:
    """Deletes what `zoo.run.written_aside` left behind where a process was killed on the way to one of these files."""
    for name in names:
        for aside in folder.glob(f".{name}.*"):
            aside.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    # On Windows only a file that may be written to can be flushed.
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
