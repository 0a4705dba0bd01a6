"""Decoded photos in a file: written once, found again by the next run, mapped into memory and shared by processes.

A file holds the pixels of all photos, one after the other; then an index in JSON; then the length of the index and a
magic word. It is written aside and renamed. Its name is a hash of everything that decides its content.
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

    from zoo.data.loading.prepare import Prepare
    from zoo.plugins.specs import Sample

_FORMAT = 1  # counted up with every change to the file, or to how photos are decoded and prepared
_TAIL = struct.Struct("<Q8s")
_MAGIC = b"zoophoto"
_ABANDONED = 24 * 3600  # seconds after which a file that was never finished is taken for one that never will be


def pack_path(samples: Sequence[Sample], prepare: Prepare) -> Path:
    """Returns where these photos, prepared so, are kept: ``home()/photos/<hash>.pack``.

    Bytes count as the same by their content, a file while its path, size and time of change are.

    """
    listed = [_identity(sample.source) for sample in samples]
    text = json.dumps([_FORMAT, PIL.__version__, repr(prepare), listed])
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
class Pack:
    """A file that was found to be whole.

    Attributes:
        pixels: Of all photos, one after the other.
        sizes: int64 ``(N, 2)``: height and width of each.
        unreadable: The samples without a photo, by their place, each with the message.
    """

    pixels: MappedPixels
    sizes: NDArray[np.int64]
    unreadable: dict[int, str]


class MappedPixels:
    """Pixels of a file, uint8 ``(P, 3)``. A slice of them is read when it is looked at.

    What was read is still in the file, so it is handed back to the system after every `window` bytes: it does not add
    up to memory of this process.
    """

    def __init__(self, path: Path, count: int, *, window: int) -> None:
        with path.open("rb") as file:
            # Private, not read-only: torch wants memory that it could write to. Nothing ever does.
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self._pixels = np.frombuffer(self._map, np.uint8, 3 * count).reshape(count, 3)
        self._window = window
        self._read = 0

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, where: slice) -> NDArray[np.uint8]:
        part = self._pixels[where]
        self._read += part.nbytes
        if self._read > self._window and hasattr(mmap, "MADV_DONTNEED"):  # Windows has none, and trims by itself
            self._read = part.nbytes
            self._map.madvise(mmap.MADV_DONTNEED)
        return part


def open_pack(path: Path, *, window: int, threads: int, check: bool = True) -> Pack | None:
    """Returns the content of a file of photos; None where there is none, or none that is whole and unchanged.

    Args:
        path: As `pack_path` returns it.
        window: As in `MappedPixels`.
        threads: That check the pixels.
        check: Whether every pixel is checked against its checksum: the file is read once as a whole.
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
        return None  # absent, cut off, or no such file at all: it is made anew
    if check:
        starts = ends - sizes.prod(axis=1)
        with ThreadPoolExecutor(threads) as pool:
            found = pool.map(lambda start, end: zlib.crc32(pixels[start:end].data), starts.tolist(), ends.tolist())
            if list(found) != checksums:
                return None
    with contextlib.suppress(OSError):
        os.utime(path)  # the least recently used ones give way to new ones
    return Pack(pixels=pixels, sizes=sizes, unreadable=unreadable)


def _read_index(path: Path) -> tuple[dict[str, Any], int]:
    """Returns the index and where it begins."""
    with path.open("rb") as file:
        end = file.seek(-_TAIL.size, os.SEEK_END)
        length, magic = _TAIL.unpack(file.read())
        if magic != _MAGIC:
            raise ValueError(magic)
        begin = file.seek(end - length)
        return json.loads(file.read(length)), begin


class PackWriter:
    """Writes a file of photos, one photo after the other.

    Args:
        path: As `pack_path` returns it; its folder is made.
        expected: How many bytes it will have, about. Least recently used files make room for them.

    Raises:
        OSError: The folder cannot be written to, or there is no room. So does every method.
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
        """Writes the index and gives the file its name."""
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

    def abandon(self) -> None:
        """Leaves no trace."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._aside.unlink(missing_ok=True)


def make_room(folder: Path, expected: int) -> None:
    """Deletes files of photos, the least recently used first, until one of `expected` bytes may be added.

    Together they may take half of what the disk has for them: of what is free and what they take already.

    Raises:
        OSError: There is no room even without them; then none is deleted.
    """
    stale = time.time() - _ABANDONED
    for part in folder.glob("*.part"):
        with contextlib.suppress(OSError):
            if part.stat().st_mtime < stale:
                part.unlink()
    packs = sorted((info.st_mtime, info.st_size, path) for path in folder.glob("*.pack") if (info := path.stat()))
    taken = sum(size for _, size, _ in packs)
    limit = (shutil.disk_usage(folder).free + taken) // 2
    if expected > limit:
        raise OSError(errno.ENOSPC, f"{expected / 1e9:.1f} GB are needed, and {limit / 1e9:.1f} may be taken", folder)
    for _, size, path in packs:
        if taken + expected <= limit:
            return
        with contextlib.suppress(OSError):  # on Windows a file that a run is using stays
            path.unlink()
            taken -= size
