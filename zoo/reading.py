"""Reads files that may be anybody's: plain ones alone, so that nothing waits for a pipe or reads a device for ever."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

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
