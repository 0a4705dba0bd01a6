"""Tests of archives that users upload, and of those crafted to be expensive."""

from __future__ import annotations

import struct
import time
import zipfile
from typing import TYPE_CHECKING

import pytest
from redness import make_png

from zoo.data.images.decode import MAX_BYTES
from zoo.data.sources.left_out import describe_left_out
from zoo.errors import DataError, ImageError
from zoo_demo.tabs import archives
from zoo_demo.tabs.archives import MAX_PHOTOS, PhotoReader, find_photos

if TYPE_CHECKING:
    from pathlib import Path


def make_archive(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return make_archive(
        tmp_path / "photos.zip",
        {
            "a/red.png": make_png("red"),
            "../blue.png": make_png("blue"),
            "broken.jpg": b"nonsense",
            "notes.txt": b"no photo",
            "__MACOSX/a/._red.png": b"what macOS adds",
        },
    )


def test_archives_are_read_in_place(archive: Path, tmp_path: Path) -> None:
    single = tmp_path / "single.png"
    single.write_bytes(make_png("red"))

    photos, _ = find_photos([archive, single, archive])
    with PhotoReader() as reader:
        contents = [reader.read(photo) for photo in photos]

    assert [photo.name for photo in photos] == [
        "photos.zip/../blue.png",
        "photos.zip/a/red.png",
        "photos.zip/broken.jpg",
        "single.png",
    ]
    assert contents == [make_png("blue"), make_png("red"), b"nonsense", single]
    assert sorted(tmp_path.iterdir()) == [archive, single]


def test_what_is_left_out_is_counted_by_the_rules_of_folders(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("@eaDir/red.png", make_png("red"))
        file.writestr("b/.red.png", make_png("red"))
        file.writestr("b/1.CR2", b"raw")
    companion = tmp_path / "._red.png"
    companion.write_bytes(b"what macOS adds")

    photos, skipped = find_photos([archive, companion])

    assert [photo.name for photo in photos] == [
        f"photos.zip/{name}" for name in ("../blue.png", "a/red.png", "broken.jpg")
    ]
    assert describe_left_out(skipped, kept=3) == (
        "2 of 5 photos left out: 1 hidden (b/.red.png), 1 RAW photo cannot be read (b/1.CR2). Save them as JPEG."
    )
    (alone,), _ = find_photos([companion])  # asked for by name
    assert alone.name == "._red.png"


def test_a_million_entries_are_rejected_before_they_are_listed(tmp_path: Path) -> None:
    count = 200_000
    entry = struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, *[0] * 7, 1, *[0] * 6) + b"a"
    size = count * len(entry)
    end = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, count, count, size, 0)
    locator = struct.pack("<IIQI", 0x07064B50, 0, size, 1)
    file = tmp_path / "entries.zip"
    file.write_bytes(
        entry * count + end + locator + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, *[0xFFFF] * 2, size, 0, 0)
    )
    assert zipfile.is_zipfile(file)

    started = time.process_time()
    with pytest.raises(DataError, match="too many entries"):
        find_photos([file])

    assert time.process_time() - started < 1


def test_all_archives_of_a_request_share_the_limit_on_entries(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = archive.with_name("copy.zip")
    copy.write_bytes(archive.read_bytes())
    monkeypatch.setattr(archives, "_MAX_ENTRIES", 9)

    assert len(find_photos([archive])[0]) == 3
    with pytest.raises(DataError, match=r"copy\.zip has too many entries"):
        find_photos([archive, copy])


def test_members_beyond_what_archives_may_unpack_to_are_refused_one_by_one(tmp_path: Path) -> None:
    size = 32 << 20
    file = tmp_path / "bomb.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as stream:
        for number in range(10):
            info = zipfile.ZipInfo(f"{number}.jpg")
            stream.writestr(info, b"")
            info.file_size = size  # as a bomb claims
        stream.writestr("z.png", make_png())

    photos, _ = find_photos([file])

    assert [bool(photo.refused) for photo in photos] == [False] * 8 + [True] * 2 + [False]
    with PhotoReader() as reader:
        with pytest.raises(ImageError, match=r"bomb\.zip/8\.jpg: it is not unpacked: .* far more than photos do"):
            reader.read(photos[8])
        assert reader.read(photos[10]) == make_png()


@pytest.mark.parametrize(("size", "refused"), [(32 << 20, False), ((32 << 20) + 1, True)])
def test_a_large_member_that_is_compressed_like_no_photo_is_refused(
    tmp_path: Path, size: int, *, refused: bool
) -> None:
    (photo,), _ = find_photos([make_archive(tmp_path / "a.zip", {"a.png": bytes(size)})])

    assert bool(photo.refused) == refused


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_to_thousands_of_times_the_size_are_refused(tmp_path: Path, method: int) -> None:
    (photo,), _ = find_photos([make_archive(tmp_path / "a.zip", {"a.png": make_png()}, method)])

    with PhotoReader() as reader, pytest.raises(ImageError, match="compressed by a method that photos do not need"):
        reader.read(photo)


def test_a_member_is_read_no_further_than_the_decoder_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_BYTES > archives._BLOCK
    monkeypatch.setattr(archives, "MAX_BYTES", archives._BLOCK)
    (photo,), _ = find_photos([make_archive(tmp_path / "a.zip", {"a.png": bytes(5 * archives._BLOCK)})])

    with PhotoReader() as reader:
        content = reader.read(photo)

    assert isinstance(content, bytes)
    assert archives._BLOCK < len(content) <= 2 * archives._BLOCK


def test_damaged_members_are_reported_by_name(archive: Path) -> None:
    content = bytearray(archive.read_bytes())
    content[content.index(b"red.png") + 20] ^= 0xFF  # within the compressed photo
    archive.write_bytes(bytes(content))
    photos, _ = find_photos([archive])

    with PhotoReader() as reader:
        with pytest.raises(ImageError, match=r"^photos\.zip/a/red\.png: it cannot be unpacked"):
            reader.read(photos[1])
        assert reader.read(photos[0]) == make_png("blue")


def test_a_damaged_directory_is_an_error(archive: Path) -> None:
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02")] = 0
    archive.write_bytes(bytes(content))

    with pytest.raises(DataError, match=r"photos\.zip cannot be unpacked"):
        find_photos([archive])


def test_a_name_that_is_not_valid_is_an_error(tmp_path: Path) -> None:
    file = make_archive(tmp_path / "a.zip", {"ä.png": make_png()})
    file.write_bytes(file.read_bytes().replace("ä".encode(), b"\xff\xff"))

    with pytest.raises(DataError, match=r"a\.zip cannot be unpacked"):
        find_photos([file])


def test_too_many_photos_are_an_error(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.png" for number in range(MAX_PHOTOS + 1)]
    files[0].write_bytes(make_png())

    with pytest.raises(DataError, match="more than 10,000 photos"):
        find_photos(files)
