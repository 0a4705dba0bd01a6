"""Writes files atomically, syncs them to the disk, and removes temporary files; reads files and JSON within limits."""

from __future__ import annotations

import errno
import json
import math
import os
import stat
import tempfile
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# The record of a run lists every photo by name: some 400 MB for ten million.
MAX_BYTES = 512 << 20
# How the small text file begins that Git LFS leaves in place of a file until 'git lfs pull' downloads it.
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
LFS_HINT = "Run 'git lfs pull' in its repository to download the content."
MAX_VALUES = 5_000_000  # of a JSON file: half a gigabyte as Python objects, whatever they are


@contextmanager
def atomic_write(target: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yields a temporary path in the same folder, and renames it to `target` if the block ends without an error.

    Args:
        target: The file to write.
        durable: Whether to sync the file to the disk before the block ends, so that it survives a power failure.

    Raises:
        RunError: The disk is full, the folder cannot be written to, or `target` is a device, a pipe or a folder, which
            the renamed file would replace. `target` is unchanged.
    """
    if os.path.exists(target) and not os.path.isfile(target):  # noqa: PTH110, PTH113  pathlib may raise
        raise RunError(f"Cannot write {target}: it is not a regular file.", hint="Choose another file.")
    temporary = None
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=target.suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o644)
        if durable:
            sync_files(temporary.parent, [temporary.name])
        temporary.replace(target)
        if durable:
            sync_files(target.parent)
    except OSError as error:
        raise RunError(
            f"Cannot write {target}: {error.strerror or error}.", hint="Is the disk full, or the folder read-only?"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def sync_files(folder: Path, names: Iterable[str] = ()) -> None:
    """Writes the existing files of these names, and the folder's entries, through to the disk.

    A rename survives a power failure only if the folder is synced too, see fsync(2). Windows cannot sync a folder, and
    need not.
    """
    for name in names:
        if (folder / name).exists():
            _fsync(folder / name)
    if os.name == "posix":
        _fsync(folder)


def remove_temporary_files(folder: Path, names: Iterable[str]) -> None:
    """Deletes the temporary files of `atomic_write` that a killed process left behind for these names."""
    for name in names:
        for temporary in folder.glob(f".{name}.*"):
            temporary.unlink(missing_ok=True)


def read_regular_file(path: Path, *, max_bytes: int | None = MAX_BYTES) -> bytes:
    """Returns the content of a regular file; follows links.

    Args:
        path: The file.
        max_bytes: The size limit, or None for no limit.

    Raises:
        OSError: The file cannot be read, is a folder, a pipe or a device, or exceeds `max_bytes`.
    """
    # O_NONBLOCK: opening a pipe that nobody writes to would block for ever. Each system lacks one of the two flags.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as file:  # noqa: PTH123  it takes a descriptor
        info = os.fstat(descriptor)
        _require_regular(path, info.st_mode)
        if max_bytes is not None and info.st_size > max_bytes:
            raise OSError(errno.EFBIG, f"Larger than {max_bytes >> 20} MiB", str(path))
        return file.read()


def parse_json(
    content: str | bytes, *, most: int = MAX_VALUES, parse_constant: Callable[[str], Any] | None = None
) -> Any:
    """Returns the value of a JSON text that may come from a stranger.

    Args:
        content: The text, in UTF-8.
        most: As in `check_json`.
        parse_constant: As in `json.loads`.

    Raises:
        ValueError: The text is not UTF-8, not JSON, or has more values.
        RecursionError: It is nested too deeply.
    """
    check_json(content.encode("utf-8", "replace") if isinstance(content, str) else content, most=most)
    text = content if isinstance(content, str) else content.decode("utf-8")
    return json.loads(text, parse_constant=parse_constant)


def check_json(content: bytes, *, most: int = MAX_VALUES) -> None:
    """Checks that the values of a JSON text, or of lines of JSON, fit into memory.

    A list takes 56 bytes of memory, but 3 of text, so that a limit on the bytes of the text does not suffice.

    Args:
        content: The text.
        most: Number of values, lists, objects and lines; commas and brackets in texts count, too.

    Raises:
        ValueError: It has more.
    """
    if content.count(b",") + content.count(b"[") + content.count(b"{") + content.count(b"\n") > most:
        raise ValueError(f"it has more than {most:,} values")


def replace_nonfinite(value: Any) -> Any:
    """Returns a JSON value with NaN and infinities, at any depth, replaced by None."""
    if isinstance(value, Mapping):
        return {key: replace_nonfinite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [replace_nonfinite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def require_regular_file(path: Path) -> None:
    """Checks a file that another library is about to open.

    Raises:
        OSError: There is no such file, or it is a folder, a pipe or a device.
    """
    _require_regular(path, path.stat().st_mode)


def _require_regular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "Not a regular file", str(path))


def _fsync(path: Path) -> None:
    # Windows syncs only files that are open for writing.
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
