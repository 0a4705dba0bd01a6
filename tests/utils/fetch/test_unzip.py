import io
import os
import stat
import struct
import tracemalloc
import zipfile

import pytest

from zoo.errors import DataError
from zoo.utils.fetch.unzip import TooManyEntriesError, ZipLimits, extract_zip, open_zip


def make_zip(path, entries, *, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, body in entries:
            file.writestr(name, body)
    return path


def assert_nothing_left(tmp_path, archive):
    assert [path.name for path in tmp_path.iterdir()] == [archive.name]


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_is_extracted(tmp_path, compression):
    entries = [("top/", b""), ("top/a/1.txt", b"one"), ("2.txt", b"two")]
    archive, steps = make_zip(tmp_path / "a.zip", entries, compression=compression), []
    folder = extract_zip(archive, tmp_path / "deep" / "out", progress=lambda *step: steps.append(step))
    assert folder == tmp_path / "deep" / "out"
    assert (folder / "top" / "a" / "1.txt").read_bytes() == b"one"
    assert (folder / "2.txt").read_bytes() == b"two"
    assert [path.name for path in folder.parent.iterdir()] == ["out"]
    assert steps == [("unpack a.zip", count, 3) for count in (1, 2, 3)]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_the_folder_has_the_usual_permissions(tmp_path):
    usual = tmp_path / "usual"
    usual.mkdir()
    folder = extract_zip(make_zip(tmp_path / "a.zip", [("1", b"one")]), tmp_path / "out")
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../out.txt", "leads out of the folder"),
        ("a/../../out.txt", "leads out of the folder"),
        ("a\\..\\..\\out.txt", "leads out of the folder"),
        ("/etc/out.txt", "path is absolute"),
        ("\\out.txt", "path is absolute"),
        ("C:\\out.txt", "path is absolute"),
        ("a/b:stream", "name is not allowed"),
        ("a/\x1b[31mred.txt", "name is not allowed"),
        ("a\nb/c.txt", "name is not allowed"),
        ("a/\x7f.txt", "name is not allowed"),
        ("a/NUL", "name is not allowed"),
        ("com1.jpg/x.txt", "name is not allowed"),
        ("a/aux.tar.gz", "name is not allowed"),
        ("a/photo.jpg.", "name is not allowed"),
        ("a /photo.jpg", "name is not allowed"),
    ],
)
def test_entries_with_a_dangerous_name_are_rejected(tmp_path, name, reason):
    archive = make_zip(tmp_path / "a.zip", [("good.txt", b"x"), (name, b"evil")])
    with pytest.raises(DataError, match=reason) as caught:
        extract_zip(archive, tmp_path / "out")
    assert repr(name) in caught.value.message
    assert_nothing_left(tmp_path, archive)


def test_an_entry_without_a_name_is_rejected(tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file, file.open(zipfile.ZipInfo(""), "w") as entry:
        entry.write(b"evil")
    with pytest.raises(DataError, match="its entry '': its name is not allowed"):
        extract_zip(archive, tmp_path / "out")
    assert_nothing_left(tmp_path, archive)


@pytest.mark.parametrize(("kind", "reason"), [(stat.S_IFLNK, "it is a link"), (stat.S_IFIFO, "it is a special file")])
def test_links_and_devices_are_rejected(tmp_path, kind, reason):
    info = zipfile.ZipInfo("evil")
    info.external_attr = (kind | 0o777) << 16
    archive = make_zip(tmp_path / "a.zip", [(info, b"/etc/passwd")])
    with pytest.raises(DataError, match=f"'evil': {reason}"):
        extract_zip(archive, tmp_path / "out")
    assert_nothing_left(tmp_path, archive)


def test_bombs_are_rejected_by_ratio_total_and_count(tmp_path):
    archive = make_zip(tmp_path / "a.zip", [("small", b"x"), ("bomb", bytes(101 * 2**20))])
    with pytest.raises(DataError, match="'bomb': the archive grows far beyond its size"):
        extract_zip(archive, tmp_path / "out", limits=ZipLimits(ratio=0.1))
    with pytest.raises(DataError, match="'bomb': the archive grows far beyond its size"):
        extract_zip(archive, tmp_path / "out", limits=ZipLimits(total=2**20))
    with pytest.raises(DataError, match=r"a\.zip is rejected: it has more than 1 entries"):
        extract_zip(archive, tmp_path / "out", limits=ZipLimits(files=1))
    assert_nothing_left(tmp_path, archive)


def test_names_that_no_disk_accepts_are_rejected(tmp_path):
    for name in ("x" * 5000, "/".join("ab" * 3000)):
        archive = make_zip(tmp_path / "a.zip", [("good.txt", b"1"), (name, b"2")])
        with pytest.raises(DataError, match=r"a\.zip cannot be extracted"):
            extract_zip(archive, tmp_path / "out")
        assert_nothing_left(tmp_path, archive)


def test_a_file_in_the_place_of_a_folder_is_rejected(tmp_path):
    archive = make_zip(tmp_path / "a.zip", [("a", b"1"), ("a/b", b"2")])
    with pytest.raises(DataError):
        extract_zip(archive, tmp_path / "out")
    assert_nothing_left(tmp_path, archive)


def test_an_archive_inside_an_archive_stays_a_file(tmp_path):
    inner = make_zip(tmp_path / "inner.zip", [("zeros", bytes(1 << 20))]).read_bytes()
    (tmp_path / "inner.zip").unlink()
    folder = extract_zip(make_zip(tmp_path / "a.zip", [("inner.zip", inner)]), tmp_path / "out")
    assert [path.name for path in folder.rglob("*")] == ["inner.zip"]


def test_folders_count_as_entries(tmp_path):
    archive = make_zip(tmp_path / "a.zip", [(f"{number}/", b"") for number in range(50)])
    with pytest.raises(DataError, match="it has more than 20 entries"):
        extract_zip(archive, tmp_path / "out", limits=ZipLimits(files=20))
    assert_nothing_left(tmp_path, archive)


def test_a_repeated_name_is_rejected(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive = make_zip(tmp_path / "a.zip", [("a", b"1"), ("a", b"2")])
    with pytest.raises(DataError, match="another entry has the same name"):
        extract_zip(archive, tmp_path / "out")


def test_a_damaged_archive_is_an_error(tmp_path):
    data = make_zip(tmp_path / "good.zip", [("a", os.urandom(50_000))]).read_bytes()
    (tmp_path / "good.zip").unlink()
    middle = len(data) // 2
    flipped = data[:middle] + b"\0\0\0\0" + data[middle + 4 :]
    for damaged in (data[:middle], flipped, b"", b"hello"):
        archive = tmp_path / "a.zip"
        archive.write_bytes(damaged)
        with pytest.raises(DataError, match="is no ZIP archive, or damaged"):
            extract_zip(archive, tmp_path / "out")
        assert_nothing_left(tmp_path, archive)


def test_a_name_that_is_not_utf_8_is_an_error(tmp_path):
    data = make_zip(tmp_path / "a.zip", [("\N{GREEK SMALL LETTER ALPHA}", b"1")]).read_bytes()
    (tmp_path / "a.zip").write_bytes(data.replace("\N{GREEK SMALL LETTER ALPHA}".encode(), b"\xff\xff"))
    with pytest.raises(DataError, match="is no ZIP archive, or damaged"):
        extract_zip(tmp_path / "a.zip", tmp_path / "out")


def test_an_existing_folder_is_not_touched(tmp_path):
    archive = make_zip(tmp_path / "a.zip", [("a", b"1")])
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match="out exists already"):
        extract_zip(archive, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def make_zip_with_entries(count: int) -> bytes:
    """Returns an archive that lists one empty folder this many times, in the ZIP64 format."""
    local = struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0) + b"a"
    entry = struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    listing, start = entry * count, len(local)
    end = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, count, count, len(listing), start)
    end += struct.pack("<IIQI", 0x07064B50, 0, start + len(listing), 1)
    return local + listing + end + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)


def test_more_entries_than_allowed_are_not_even_listed(tmp_path):
    content = make_zip_with_entries(200_000)
    (tmp_path / "a.zip").write_bytes(content)
    tracemalloc.start()
    for archive in (tmp_path / "a.zip", io.BytesIO(content)):
        with pytest.raises(TooManyEntriesError, match="more than 100,000 entries"), open_zip(archive, most=100_000):
            pytest.fail("It was opened.")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * len(content)
    with open_zip(io.BytesIO(make_zip_with_entries(300)), most=300) as archive:
        assert len(archive.infolist()) == 300


def test_an_archive_inside_an_archive_is_no_list_of_entries(tmp_path):
    inner = make_zip_with_entries(50)
    archive = make_zip(tmp_path / "a.zip", [("inner.zip", inner)], compression=zipfile.ZIP_STORED)
    with open_zip(archive, most=1) as opened:
        assert opened.read("inner.zip") == inner
    with pytest.raises(zipfile.BadZipFile), open_zip(io.BytesIO(b"PK nothing"), most=1):
        pass
