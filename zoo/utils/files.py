"""Writes files whole or not at all, sees them on the disk, and clears away what a killed process left half written."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@contextmanager
def atomic_write(target: Path, *, durable: bool = False) -> Iterator[Path]:
    """Gives a path to write to, in the same folder; renames it to `target` when the block ends well.

    Args:
        target: The file.
        durable: Whether it is to be on the disk, power lost or not, before the block is left.

    Raises:
        RunError: The disk is full, or the folder cannot be written to. `target` is then as it was.
    """
    aside = None
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=target.suffix)
        os.close(handle)
        aside = Path(name)
        yield aside
        aside.chmod(0o644)
        if durable:
            flush(aside.parent, [aside.name])
        aside.replace(target)
        if durable:
            flush(target.parent)
    except OSError as error:
        raise RunError(
            f"Cannot write {target}: {error.strerror or error}.", hint="Is the disk full, or the folder read-only?"
        ) from error
    finally:
        if aside is not None:
            aside.unlink(missing_ok=True)


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
    """Deletes what `atomic_write` left behind where a process was killed on the way to one of these files."""
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


# A record lists every photo by its name: of ten million, that is some 400 MB.
MOST_BYTES = 512 << 20


def read_plain(path: Path, *, most: int | None = MOST_BYTES) -> bytes:
    """Returns the content of a plain file; links are followed.

    Args:
        path: Of the file.
        most: Bytes that it may have; None for any number.

    Raises:
        OSError: It cannot be read, is a folder, a pipe or a device, or is larger.
    """
    # Without waiting: a pipe that nobody writes to would never open. Windows has neither.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as file:  # noqa: PTH123  it is open already
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode):
            raise OSError(errno.EINVAL, "Not a plain file", str(path))
        if most is not None and info.st_size > most:
            raise OSError(errno.EFBIG, f"Larger than {most >> 20} MiB", str(path))
        return file.read()


def check_plain(path: Path) -> None:
    """Checks what another library is about to open, as `read_plain` does.

    Raises:
        OSError: There is no such file, or it is a folder, a pipe or a device.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "Not a plain file", str(path))
