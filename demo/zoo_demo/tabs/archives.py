"""Finds the photos among uploads, those in ZIP archives included, and reads them one at a time.

An archive may be crafted to be expensive: kilobytes that unpack to gigabytes, or a million empty entries. What reading
it costs is limited before it is read. Everything here blocks, so call it from a thread.
"""

from __future__ import annotations

import io
import threading
import zipfile
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from zoo.data.images.decode import MAX_BYTES
from zoo.data.sources.walk import SkippedFile, judge_member, judge_name
from zoo.errors import DataError, ImageError
from zoo.utils.fetch.unzip import TooManyEntriesError, open_zip

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MAX_PHOTOS = 10_000
_MAX_ENTRIES = 50_000  # of all archives, other files and folders included
# Photos are compressed already, apart from BMP, PPM and some TIFF files, so archives unpack to little more than they
# take. Together they may unpack to this many bytes, and this many times their size; one photo of more than
# `_LARGE_PHOTO` bytes to `_MAX_PHOTO_RATIO` times its own.
_MAX_UNPACKED, _MAX_RATIO = 256 << 20, 20
_LARGE_PHOTO, _MAX_PHOTO_RATIO = 32 << 20, 100
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others unpack to thousands of times their size
_BLOCK = 1 << 20
# RuntimeError: encrypted. ValueError: a name that is not valid UTF-8.
_UNPACK_ERRORS = (zipfile.BadZipFile, RuntimeError, ValueError, OSError, EOFError, zlib.error)
_TOO_LARGE = "it takes far more than photos do"
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
            raise ImageError(f"{photo.name}: it is not unpacked: {photo.refused}.", hint=_HINT)
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
            listed = _list_entries(file, most=_MAX_ENTRIES - entries)
            entries += len(listed)
            for photo in _list_photos(file, listed, skipped):
                assert photo.member is not None
                fits = photo.refused or unpacked + photo.member.file_size <= allowed
                unpacked += 0 if photo.refused or not fits else photo.member.file_size
                photos.append(photo if fits else replace(photo, refused=_TOO_LARGE))
        if len(photos) > MAX_PHOTOS:
            message = f"There are more than {MAX_PHOTOS:,} photos."
            raise DataError(message, hint="Use 'zoo predict FOLDER' instead.")
    return photos, skipped


def _list_photos(file: Path, entries: Sequence[zipfile.ZipInfo], skipped: list[SkippedFile]) -> Iterator[UploadedPhoto]:
    for info in sorted(entries, key=lambda info: info.filename):
        reason, photos = judge_member(info.filename)
        if reason and not info.is_dir():
            skipped.append(SkippedFile(file, info.filename, reason, photos))
        elif not info.is_dir():
            yield UploadedPhoto(f"{file.name}/{info.filename}", file, info, _reason_to_refuse(info))


def _list_entries(file: Path, *, most: int) -> list[zipfile.ZipInfo]:
    try:
        with open_zip(file, most=most) as archive:
            return archive.infolist()
    except TooManyEntriesError as error:
        hint = f"Pack at most {MAX_PHOTOS:,} photos."
        raise DataError(f"{file.name} has too many entries.", hint=hint) from error
    except _UNPACK_ERRORS as error:
        raise DataError(f"{file.name} cannot be unpacked: {error}.", hint=_HINT) from error


def _reason_to_refuse(member: zipfile.ZipInfo) -> str:
    """Returns why a member is not unpacked; an empty string if it is."""
    if member.compress_type not in _METHODS:
        return "it is compressed by a method that photos do not need"
    ratio = member.file_size / max(1, member.compress_size)
    return _TOO_LARGE if member.file_size > _LARGE_PHOTO and ratio > _MAX_PHOTO_RATIO else ""
