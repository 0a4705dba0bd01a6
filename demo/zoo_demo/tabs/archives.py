"""Finds the photos among uploads, those in ZIP archives included, and reads them one at a time.

An archive may be crafted to be expensive: kilobytes that unpack to gigabytes, or a million empty entries. What reading
it costs is limited before it is read. Everything here blocks, so call it from a thread.
"""

from __future__ import annotations

import io
import threading
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from zoo.data.images.decode import MAX_BYTES
from zoo.data.sources.walk import SkippedFile, judge_member, judge_name
from zoo.errors import DataError, ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MAX_PHOTOS = 10_000
_MAX_ENTRIES = 50_000  # of all archives, other files and folders included
_ENTRY = b"PK\x01\x02"  # at the start of each entry of an archive's directory
# Photos are compressed already, apart from BMP, PPM and some TIFF files, so archives unpack to little more than they
# take. Together they may unpack to this many bytes, and this many times their size.
_MAX_UNPACKED, _MAX_RATIO = 256 << 20, 20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others unpack to thousands of times their size
_BLOCK = 1 << 20
_UNPACK_ERRORS = (zipfile.BadZipFile, RuntimeError, OSError, EOFError, zlib.error)  # RuntimeError: encrypted
_HINT = "Create the archive again."


@dataclass(frozen=True, slots=True)
class UploadedPhoto:
    """A photo in a file of its own, or a member of an archive.

    Attributes:
        name: What the user calls it.
        file: The file, or the archive.
        member: The member of the archive.
        refused: Why the member is not unpacked.
    """

    name: str
    file: Path
    member: zipfile.ZipInfo | None = None
    refused: str = ""


class PhotoReader:
    """Reads uploaded photos, also from several threads. Keeps the archive open that was used last.

    Use it as a context manager.
    """

    def __init__(self) -> None:
        self._archive: zipfile.ZipFile | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._close()

    def read(self, photo: UploadedPhoto) -> Path | bytes:
        """Returns the file of a photo, or the content of a member; raises `ImageError` if it cannot be unpacked."""
        if photo.member is None:
            return photo.file
        if photo.refused:
            raise ImageError(f"{photo.name}: {photo.refused}.", hint=_HINT)
        try:
            with self._lock, self._open(photo.file).open(photo.member) as stream:
                content = io.BytesIO()
                while content.tell() <= MAX_BYTES and (block := stream.read(_BLOCK)):  # one read would copy again
                    content.write(block)
                return content.getvalue()
        except _UNPACK_ERRORS as error:
            raise ImageError(f"{photo.name}: it cannot be unpacked: {error}.", hint=_HINT) from error

    def _open(self, file: Path) -> zipfile.ZipFile:
        if self._archive is None or self._archive.filename != str(file):
            self._close()
            self._archive = zipfile.ZipFile(file)
        return self._archive

    def _close(self) -> None:
        if self._archive is not None:
            self._archive.close()
            self._archive = None


def find_photos(files: Sequence[Path]) -> tuple[list[UploadedPhoto], list[SkippedFile]]:
    """Returns every photo, and what is left out by the rules of `zoo.data.sources.walk`.

    Archives are read in place; nothing is unpacked to disk. A single file is never left out, whatever its name.

    Raises:
        DataError: There are too many photos, or too many entries in the archives; or an archive is damaged.
    """
    photos: list[UploadedPhoto] = []
    skipped: list[SkippedFile] = []
    entries = unpacked = 0
    files = list(dict.fromkeys(files))  # a request may repeat them
    archives = {file: file.stat().st_size for file in files if zipfile.is_zipfile(file)}
    allowed = _MAX_UNPACKED + _MAX_RATIO * sum(archives.values())
    for file in files:
        if file not in archives and len(files) > 1 and (reason := judge_name(file.name)):
            skipped.append(SkippedFile(file, file.name, reason, 0))
        elif file not in archives:
            photos.append(UploadedPhoto(file.name, file))
        else:
            entries += count_entries(file)
            if entries > _MAX_ENTRIES:
                raise DataError(f"{file.name} has too many entries.", hint=f"Pack at most {MAX_PHOTOS:,} photos.")
            for photo in _members(file, skipped):
                assert photo.member is not None
                fits = photo.refused or unpacked + photo.member.file_size <= allowed
                unpacked += 0 if photo.refused or not fits else photo.member.file_size
                photos.append(photo if fits else _refuse(photo, "the archive unpacks to far more than photos take"))
        if len(photos) > MAX_PHOTOS:
            message = f"There are more than {MAX_PHOTOS:,} photos."
            raise DataError(message, hint="Use 'zoo predict FOLDER' instead.")
    return photos, skipped


def count_entries(file: Path) -> int:
    """Returns the most entries that an archive can have. Counts their signatures, which is 1000 times as fast."""
    count, tail = 0, b""
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            count += (tail + block).count(_ENTRY)
            tail = block[1 - len(_ENTRY) :]
    return count


def _members(file: Path, skipped: list[SkippedFile]) -> Iterator[UploadedPhoto]:
    try:
        with zipfile.ZipFile(file) as archive:
            entries = sorted(archive.infolist(), key=lambda info: info.filename)
    except _UNPACK_ERRORS as error:
        raise DataError(f"{file.name} cannot be unpacked: {error}.", hint=_HINT) from error
    for info in entries:
        reason, photos = judge_member(info.filename)
        if reason and not info.is_dir():
            skipped.append(SkippedFile(file, info.filename, reason, photos))
        elif not info.is_dir():
            photo = UploadedPhoto(f"{file.name}/{info.filename}", file, info)
            other = "it is compressed by a method that photos do not need"
            yield photo if info.compress_type in _METHODS else _refuse(photo, other)


def _refuse(photo: UploadedPhoto, reason: str) -> UploadedPhoto:
    return UploadedPhoto(photo.name, photo.file, photo.member, f"it is not unpacked: {reason}")
