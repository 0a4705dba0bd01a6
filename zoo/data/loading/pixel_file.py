"""Files of decoded photos: written once, found again by later runs, mapped into memory and shared by processes.

A file contains the pixels of all photos, one after the other; then an index in JSON; then the length of the index and
a magic word. It is written under a temporary name and renamed. Its name is a hash of everything that decides its
content.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import mmap
import os
import shutil
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL

from zoo.utils.paths import home

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from zoo.data.loading.transform import Transform
    from zoo.plugins.specs import Sample

_FORMAT = 1  # increased with every change to the file, or to how photos are decoded and transformed
_TAIL = struct.Struct("<Q8s")
_MAGIC = b"zoophoto"
_STALE = 24 * 3600  # seconds after which an incomplete file is considered abandoned


def pixel_file_path(samples: Sequence[Sample], transform: Transform) -> Path:
    """Returns the path of the file for these photos and this transform: ``home()/photos/<hash>.pack``.

    Photos given as bytes are identified by their content, files by path, size and modification time.
    """
    listed = [_identity(sample.source) for sample in samples]
    text = json.dumps([_FORMAT, PIL.__version__, transform.key, listed])
    return home() / "photos" / f"{hashlib.sha256(text.encode()).hexdigest()[:40]}.pack"


def _identity(source: Path | bytes) -> list[Any]:
    if isinstance(source, bytes):
        return [hashlib.sha256(source).hexdigest()]
    try:
        info = source.stat()
    except (OSError, ValueError):
        return [str(source), "unreadable"]
    return [str(source.absolute()), info.st_size, info.st_mtime_ns]


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelFile:
    """A complete and valid file.

    Attributes:
        pixels: Of all photos, one after the other.
        sizes: int64 ``(N, 2)``: height and width of each photo.
        unreadable: By index, the samples that could not be decoded, each with the message.
    """

    pixels: MappedPixels
    sizes: NDArray[np.int64]
    unreadable: dict[int, str]


class MappedPixels:
    """The pixels of a file, uint8 ``(P, 3)``. A slice of them is read when it is accessed.

    Pages that were read are still in the file, so they are returned to the system after every `window` bytes: they do
    not add up to memory of this process.
    """

    def __init__(self, path: Path, count: int, *, window: int) -> None:
        with path.open("rb") as file:
            # Copy-on-write instead of read-only: torch requires writable memory, though nothing ever writes to it.
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self._pixels = np.frombuffer(self._map, np.uint8, 3 * count).reshape(count, 3)
        self._window = window
        self._read = 0

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, where: slice) -> NDArray[np.uint8]:
        pixels = self._pixels[where]
        self._read += pixels.nbytes
        if self._read > self._window and hasattr(mmap, "MADV_DONTNEED"):  # Windows lacks it, and trims on its own
            self._read = pixels.nbytes
            self._map.madvise(mmap.MADV_DONTNEED)
        return pixels


def open_pixel_file(path: Path, *, window: int, threads: int, check: bool = True) -> PixelFile | None:
    """Opens a file of photos; returns None if it does not exist, is incomplete or is damaged.

    Args:
        path: As `pixel_file_path` returns it.
        window: As in `MappedPixels`.
        threads: Number of threads that verify the pixels.
        check: Whether to verify the checksum of every photo, which reads the whole file once.
    """
    try:
        index, end = _read_index(path)
        sizes = np.array(index["sizes"], dtype=np.int64).reshape(-1, 2)
        ends = sizes.prod(axis=1).cumsum()
        count = int(ends[-1])
        if index["format"] != _FORMAT or index["key"] != path.stem or 3 * count != end:
            return None
        pixels = MappedPixels(path, count, window=window)
        unreadable = {int(place): str(message) for place, message in index["unreadable"].items()}
        checksums = [int(checksum) for checksum in index["checksums"]]
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, struct.error):
        return None  # missing, truncated or not such a file at all: the caller writes it again
    if check:
        starts = ends - sizes.prod(axis=1)
        with ThreadPoolExecutor(threads) as pool:
            actual = pool.map(lambda start, end: zlib.crc32(pixels[start:end].data), starts.tolist(), ends.tolist())
            if list(actual) != checksums:
                return None
    with contextlib.suppress(OSError):
        os.utime(path)  # `make_room` deletes the least recently used files first
    return PixelFile(pixels=pixels, sizes=sizes, unreadable=unreadable)


def _read_index(path: Path) -> tuple[dict[str, Any], int]:
    """Returns the index and where it starts."""
    with path.open("rb") as file:
        end = file.seek(-_TAIL.size, os.SEEK_END)
        length, magic = _TAIL.unpack(file.read())
        if magic != _MAGIC:
            raise ValueError(magic)
        start = file.seek(end - length)
        return json.loads(file.read(length)), start


class PixelFileWriter:
    """Writes a file of photos, one photo after the other.

    Args:
        path: As `pixel_file_path` returns it; its folder is created.
        expected: Expected size in bytes. The least recently used files are deleted to make room.

    Raises:
        OSError: The folder is not writable, or there is no room. Every method may raise it.
    """

    def __init__(self, path: Path, *, expected: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        make_room(path.parent, expected)
        self.path = path
        self._aside = path.with_name(f"{path.stem}.{os.getpid()}.part")
        self._file = self._aside.open("wb")
        self._sizes: list[tuple[int, ...]] = []
        self._checksums: list[int] = []

    def write(self, photo: NDArray[np.uint8]) -> None:
        """Adds a photo, uint8 ``(H, W, 3)``."""
        self._file.write(photo.data)
        self._sizes.append(photo.shape[:2])
        self._checksums.append(zlib.crc32(photo.data))

    def finish(self, unreadable: dict[int, str]) -> None:
        """Writes the index and gives the file its final name."""
        index = {
            "format": _FORMAT,
            "key": self.path.stem,
            "sizes": self._sizes,
            "checksums": self._checksums,
            "unreadable": unreadable,
        }
        text = json.dumps(index).encode()
        self._file.write(text + _TAIL.pack(len(text), _MAGIC))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._aside.replace(self.path)

    def discard(self) -> None:
        """Deletes the incomplete file."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._aside.unlink(missing_ok=True)


def make_room(folder: Path, expected: int) -> None:
    """Deletes files of photos, the least recently used first, until another `expected` bytes fit.

    All files together may use half of the available space: of the free space and what they already use.

    Raises:
        OSError: The space would not suffice even without them; then none is deleted.
    """
    stale = time.time() - _STALE
    for incomplete in folder.glob("*.part"):
        with contextlib.suppress(OSError):
            if incomplete.stat().st_mtime < stale:
                incomplete.unlink()
    files = sorted((info.st_mtime, info.st_size, path) for path in folder.glob("*.pack") if (info := path.stat()))
    used = sum(size for _, size, _ in files)
    limit = (shutil.disk_usage(folder).free + used) // 2
    if expected > limit:
        reason = f"{expected / 1e9:.1f} GB are needed, but only {limit / 1e9:.1f} GB may be used"
        raise OSError(errno.ENOSPC, reason, folder)
    for _, size, path in files:
        if used + expected <= limit:
            return
        with contextlib.suppress(OSError):  # on Windows a file that another run uses cannot be deleted
            path.unlink()
            used -= size
