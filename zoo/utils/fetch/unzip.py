"""Extracts ZIP archives from untrusted sources."""

from __future__ import annotations

import io
import lzma
import re
import stat
import tempfile
import unicodedata
import zipfile
import zlib
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import DataError
from zoo.events import no_progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from zoo.events import Progress

_CHUNK = 1 << 20
_ENTRY = b"PK\1\2"  # the start of each entry of the list
_HINT = "Nothing was extracted. Download the archive from its publisher again."


@dataclass(frozen=True, slots=True, kw_only=True)
class ZipLimits:
    """What an archive may contain; more counts as an attack.

    Attributes:
        files: Maximum number of entries.
        total: Maximum number of extracted bytes.
        ratio: Maximum ratio of extracted bytes beyond the first 100 MiB to the size of the archive.
    """

    files: int = 2_000_000
    total: int = 200 * 2**30
    ratio: float = 100.0


class _LimitedListing(io.RawIOBase):
    """A ZIP archive in which `zipfile` may list only so many entries: it keeps half a kilobyte of each.

    `zipfile` reads the list at once, before it makes anything of it; the number that an archive states is not reliable.
    """

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file, self._most = file, most
        self.listed = False

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size)
        if not self.listed and content.count(_ENTRY) > self._most:
            raise TooManyEntriesError(f"more than {self._most:,} entries")
        return content

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True


class TooManyEntriesError(zipfile.BadZipFile):
    """A ZIP archive has more entries than allowed; the message says how many are."""


@contextmanager
def open_zip(archive: Path | BinaryIO, *, most: int) -> Iterator[zipfile.ZipFile]:
    """Opens a ZIP archive for reading, and closes it after the block.

    Args:
        archive: The archive, or an open file, which stays open.
        most: Maximum number of entries.

    Raises:
        TooManyEntriesError: It has more; none was listed.
        zipfile.BadZipFile: It is not a ZIP archive.
        OSError: It cannot be read.
    """
    with archive.open("rb") if isinstance(archive, Path) else nullcontext(archive) as file:
        limited = _LimitedListing(file, most)
        with zipfile.ZipFile(limited) as opened:
            limited.listed = True
            yield opened


def extract_zip(
    archive: Path, folder: Path, *, limits: ZipLimits | None = None, progress: Progress = no_progress
) -> Path:
    """Extracts a ZIP archive into a new folder.

    Extracts only regular files and folders. Rejects links, devices, absolute paths, entries that lead out of the
    folder, and archives that grow far beyond their size, by the bytes extracted and not by those that the archive
    claims. The folder is a hidden sibling until everything is extracted; then it gets its name.

    Args:
        archive: The ZIP archive.
        folder: The folder to create.
        limits: `ZipLimits()` by default.
        progress: Receives the number of extracted entries.

    Returns:
        `folder`.

    Raises:
        DataError: `folder` exists, the file is no ZIP archive or a damaged one, or an entry is rejected; the message
            names the entry.
    """
    if folder.exists():
        raise DataError(f"{folder} exists already.", hint="Delete it, or choose another folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=folder.parent, prefix=f".{folder.name}.", ignore_cleanup_errors=True
    ) as temporary:
        # A temporary folder is closed to other users; a folder inside it has the usual permissions.
        inside = Path(temporary) / folder.name
        inside.mkdir()
        _extract_all(archive, inside, limits or ZipLimits(), progress)
        inside.rename(folder)
    return folder


def _extract_all(archive: Path, folder: Path, limits: ZipLimits, progress: Progress) -> None:
    budget = min(limits.total, int(100 * 2**20 + limits.ratio * archive.stat().st_size))
    try:
        with open_zip(archive, most=limits.files) as file:
            entries = file.infolist()
            for count, entry in enumerate(entries, start=1):
                budget -= _extract_entry(archive, file, entry, folder, budget)
                progress(f"unpack {archive.name}", count, len(entries))
    except TooManyEntriesError as error:
        raise DataError(f"{archive.name} is rejected: it has {error}.", hint=_HINT) from None
    # RuntimeError: an entry that is encrypted, or compressed by an unknown method. ValueError: a name that is no UTF-8.
    except (zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, RuntimeError, ValueError) as error:
        raise DataError(f"{archive} is no ZIP archive, or damaged ({error}).", hint=_HINT) from None
    except OSError as error:
        raise DataError(f"{archive} cannot be extracted to {folder.parent.parent} ({error}).", hint=_HINT) from None


def _extract_entry(archive: Path, file: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path, budget: int) -> int:
    """Writes one entry and returns its size in bytes."""
    target = folder.joinpath(*_path_parts(archive, entry))
    if entry.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return 0
    # The upper half holds the Unix mode if a Unix system wrote the archive, otherwise zero.
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise _rejection(archive, entry, "it is a link" if kind == stat.S_IFLNK else "it is a special file")
    target.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    try:
        with file.open(entry) as source, target.open("xb") as output:
            while chunk := source.read(_CHUNK):
                size += len(chunk)
                if size > budget:
                    raise _rejection(archive, entry, "the archive grows far beyond its size")
                output.write(chunk)
    except FileExistsError:
        raise _rejection(archive, entry, "another entry has the same name") from None
    return size


def _path_parts(archive: Path, entry: zipfile.ZipInfo) -> list[str]:
    """Returns the parts of an entry's path, which stays inside the folder on every operating system."""
    name = entry.filename
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        raise _rejection(archive, entry, "its path is absolute")
    parts = [part for part in re.split(r"[/\\]", name) if part not in ("", ".")]
    if ".." in parts:
        raise _rejection(archive, entry, "it leads out of the folder")
    if not name or not all(map(_is_portable, parts)):
        raise _rejection(archive, entry, "its name is not allowed")
    return parts


def _is_portable(part: str) -> bool:
    """Whether every operating system allows a name: Windows reserves device names, and drops final dots and spaces."""
    device = re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", part, re.IGNORECASE)
    control = any(unicodedata.category(c) == "Cc" for c in part)
    return not (":" in part or control or device or part.endswith((".", " ")))


def _rejection(archive: Path, entry: zipfile.ZipInfo, reason: str) -> DataError:
    return DataError(f"{archive.name} is rejected because of its entry {entry.filename!r}: {reason}.", hint=_HINT)
