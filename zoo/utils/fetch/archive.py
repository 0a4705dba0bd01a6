"""Unpacks zip and tar archives of others without trusting them."""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import lzma
import re
import stat
import tarfile
import tempfile
import unicodedata
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from zoo.errors import DataError
from zoo.events import no_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from zoo.events import Progress

_CHUNK = 1 << 20
_MAX_HEADER = 16 << 20
_HINT = "Nothing was unpacked. Get the archive from its publisher again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an archive may hold; more is taken for an attack.

    Attributes:
        files: How many entries.
        total: How many bytes in all, unpacked.
        ratio: Unpacked bytes over the size of the archive, counted beyond the first 100 MiB.
    """

    files: int = 2_000_000
    total: int = 200 * 2**30
    ratio: float = 100.0


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    kind: str  # "file", "folder", or what else it is
    open: Callable[[], IO[bytes] | None] | None = None


def extract(archive: Path, folder: Path, *, limits: Limits | None = None, progress: Progress = no_progress) -> Path:
    """Unpacks a zip or tar archive into a folder that does not exist yet.

    Only plain files and folders come out: links, devices, absolute paths and entries that lead out of the folder are
    refused, and so are archives that unpack to far more than they are (bytes are counted as they come, not as the
    archive claims). The folder gets its name when all is unpacked; until then it is a hidden sibling.

    Args:
        archive: zip, tar, tar.gz, tar.bz2 or tar.xz.
        folder: To be made.
        limits: By default `Limits()`.
        progress: Told the number of files unpacked.

    Returns:
        `folder`.

    Raises:
        DataError: Not an archive, a broken one, or an entry that is refused; the message names it.
    """
    if folder.exists():
        raise DataError(f"{folder} is there already.", hint="Delete it, or choose another folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.", ignore_cleanup_errors=True) as aside:
        # One level down: a temporary folder is closed to other users, the one inside it has the usual rights.
        inside = Path(aside) / folder.name
        inside.mkdir()
        _unpack(archive, inside, limits or Limits(), progress)
        inside.rename(folder)
    return folder


def _unpack(archive: Path, folder: Path, limits: Limits, progress: Progress) -> None:
    budget = min(limits.total, int(100 * 2**20 + limits.ratio * archive.stat().st_size))
    what = f"unpack {archive.name}"
    try:
        with _entries(archive) as (entries, total):
            for count, entry in enumerate(entries, start=1):
                if count > limits.files:
                    raise _refusal(archive, entry.name, f"it is one of more than {limits.files:,} entries")
                budget -= _write(archive, entry, folder, budget)
                progress(what, count, total)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, RuntimeError) as error:
        raise DataError(f"{archive} is broken ({error}).", hint=_HINT) from None
    except OSError as error:
        raise DataError(f"{archive} cannot be unpacked into {folder.parent.parent} ({error}).", hint=_HINT) from None


def _write(archive: Path, entry: _Entry, folder: Path, budget: int) -> int:
    """Writes one entry and returns how many bytes it has."""
    target = folder.joinpath(*_parts(archive, entry.name))
    if entry.kind == "folder":
        target.mkdir(parents=True, exist_ok=True)
        return 0
    source = entry.open() if entry.open else None
    if source is None:
        raise _refusal(archive, entry.name, f"it is {entry.kind}")
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    try:
        with source, target.open("xb") as file:
            while chunk := source.read(_CHUNK):
                written += len(chunk)
                if written > budget:
                    raise _refusal(archive, entry.name, "with it the archive unpacks to far more than it is")
                file.write(chunk)
    except FileExistsError:
        raise _refusal(archive, entry.name, "another entry has the same name") from None
    return written


def _parts(archive: Path, name: str) -> list[str]:
    """Returns the parts of an entry's name, which stay below the folder on every system."""
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        raise _refusal(archive, name, "its path is absolute")
    parts = [part for part in re.split(r"[/\\]", name) if part not in ("", ".")]
    if ".." in parts:
        raise _refusal(archive, name, "it leads out of the folder")
    if not all(map(_is_allowed, parts)):
        raise _refusal(archive, name, "its name is not allowed")
    return parts


def _is_allowed(part: str) -> bool:
    """Tells whether a name is one on every system: Windows has devices in every folder, and drops dots and spaces."""
    device = re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", part, re.IGNORECASE)
    control = any(unicodedata.category(c) == "Cc" for c in part)
    return not (":" in part or control or device or part.endswith((".", " ")))


@contextmanager
def _entries(archive: Path) -> Iterator[tuple[Iterator[_Entry], int | None]]:
    """Gives the entries of an archive, and how many there are where the archive tells."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            yield _zip_entries(file), len(file.infolist())
        return
    with _unpressed(archive) as content:
        try:
            tar = tarfile.open(fileobj=content, mode="r:")  # noqa: SIM115  closed below
        except tarfile.ReadError:
            reason = "is neither a zip nor a tar archive, or it is broken"
            raise DataError(f"{archive} {reason}.", hint=_HINT) from None
        with tar:
            yield _tar_entries(tar), None


class _HeaderLimit(io.RawIOBase):
    """A file that gives only so much at a time: tarfile reads a header whole, and a header says itself how long it is.

    Args:
        file: What is read.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if size > _MAX_HEADER:
            raise tarfile.ReadError(f"a header of {size >> 20:,} MiB")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


@contextmanager
def _unpressed(archive: Path) -> Iterator[IO[bytes]]:
    """Opens what is packed by gzip, bzip2 or xz, or by none."""
    with archive.open("rb") as file:
        magic = file.read(6)
    openers: dict[bytes, Callable[[Path], Any]] = {
        b"\x1f\x8b": gzip.open,
        b"BZh": bz2.open,
        b"\xfd7zXZ\0": lzma.open,
    }
    opener = next((opener for start, opener in openers.items() if magic.startswith(start)), None)
    with opener(archive) if opener else archive.open("rb") as content:
        yield cast("IO[bytes]", _HeaderLimit(content))


def _zip_entries(file: zipfile.ZipFile) -> Iterator[_Entry]:
    for info in file.infolist():
        # The upper half holds the Unix mode where a Unix wrote the archive, else zero.
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.is_dir():
            yield _Entry(info.filename, "folder")
        elif kind not in (0, stat.S_IFREG):
            yield _Entry(info.filename, "a link" if kind == stat.S_IFLNK else "a special file")
        else:
            yield _Entry(info.filename, "file", functools.partial(file.open, info))


def _tar_entries(tar: tarfile.TarFile) -> Iterator[_Entry]:
    for member in tar:
        if member.isdir():
            yield _Entry(member.name, "folder")
        elif not member.isreg():
            link = member.issym() or member.islnk()
            yield _Entry(member.name, "a link" if link else "a special file")
        else:
            yield _Entry(member.name, "file", functools.partial(tar.extractfile, member))


def _refusal(archive: Path, entry: str, reason: str) -> DataError:
    return DataError(f"{archive.name} is refused for its entry {entry!r}: {reason}.", hint=_HINT)
