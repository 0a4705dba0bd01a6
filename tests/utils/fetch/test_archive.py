import gzip
import io
import lzma
import os
import stat
import tarfile
import zipfile

import pytest

from zoo.errors import DataError
from zoo.utils.fetch.archive import Limits, extract


def make_zip(path, entries, *, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, body in entries:
            file.writestr(name, body)
    return path


def make_tar(path, *members, mode="w:gz"):
    with tarfile.open(path, mode) as file:
        for member, body in members:
            member.size = len(body)
            file.addfile(member, io.BytesIO(body))
    return path


def member(name, kind=tarfile.REGTYPE, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def assert_nothing_left(tmp_path, archive):
    assert [path.name for path in tmp_path.iterdir()] == [archive.name]


def test_a_zip_is_unpacked(tmp_path):
    archive = make_zip(tmp_path / "a.zip", [("top/", b""), ("top/a/1.txt", b"one"), ("2.txt", b"two")])
    told = []
    folder = extract(archive, tmp_path / "deep" / "out", progress=lambda *step: told.append(step))
    assert folder == tmp_path / "deep" / "out"
    assert (folder / "top" / "a" / "1.txt").read_bytes() == b"one"
    assert (folder / "2.txt").read_bytes() == b"two"
    assert [path.name for path in folder.parent.iterdir()] == ["out"]
    assert told == [("unpack a.zip", count, 3) for count in (1, 2, 3)]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such rights")
def test_others_may_read_what_came_out(tmp_path):
    expected = tmp_path / "usual"
    expected.mkdir()
    folder = extract(make_zip(tmp_path / "a.zip", [("1", b"one")]), tmp_path / "out")
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(expected.stat().st_mode)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_is_unpacked(tmp_path, mode):
    members = (member("top", tarfile.DIRTYPE), b""), (member("top/1"), b"one"), (member("./2"), b"two")
    folder = extract(make_tar(tmp_path / "a.tar", *members, mode=mode), tmp_path / "out")
    assert (folder / "top" / "1").read_bytes() == b"one"
    assert (folder / "2").read_bytes() == b"two"


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
def test_entries_that_leave_the_folder_are_refused(tmp_path, name, reason):
    archive = make_zip(tmp_path / "a.zip", [("good.txt", b"x"), (name, b"evil")])
    with pytest.raises(DataError, match=reason) as caught:
        extract(archive, tmp_path / "out")
    assert repr(name) in caught.value.message
    assert_nothing_left(tmp_path, archive)
    archive.unlink()
    archive = make_tar(tmp_path / "a.tar", (member(name), b"evil"))
    with pytest.raises(DataError, match=reason):
        extract(archive, tmp_path / "out")
    assert_nothing_left(tmp_path, archive)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (tarfile.SYMTYPE, "it is a link"),
        (tarfile.LNKTYPE, "it is a link"),
        (tarfile.CHRTYPE, "it is a special file"),
        (tarfile.FIFOTYPE, "it is a special file"),
    ],
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind, reason):
    archive = make_tar(tmp_path / "a.tar", (member("evil", kind, "/etc/passwd"), b""))
    with pytest.raises(DataError, match=f"'evil': {reason}"):
        extract(archive, tmp_path / "out")
    assert_nothing_left(tmp_path, archive)


@pytest.mark.parametrize(("kind", "reason"), [(stat.S_IFLNK, "it is a link"), (stat.S_IFIFO, "it is a special file")])
def test_links_and_devices_in_a_zip_are_refused(tmp_path, kind, reason):
    info = zipfile.ZipInfo("evil")
    info.external_attr = (kind | 0o777) << 16
    archive = make_zip(tmp_path / "a.zip", [(info, b"/etc/passwd")])
    with pytest.raises(DataError, match=f"'evil': {reason}"):
        extract(archive, tmp_path / "out")
    assert_nothing_left(tmp_path, archive)


def test_bombs_are_refused_by_ratio_total_and_count(tmp_path):
    archive = make_zip(tmp_path / "a.zip", [("small", b"x"), ("bomb", bytes(101 * 2**20))])
    with pytest.raises(DataError, match="'bomb': with it the archive unpacks to far more than it is"):
        extract(archive, tmp_path / "out", limits=Limits(ratio=0.1))
    with pytest.raises(DataError, match="'bomb': with it the archive unpacks to far more"):
        extract(archive, tmp_path / "out", limits=Limits(total=2**20))
    with pytest.raises(DataError, match="'bomb': it is one of more than 1 entries"):
        extract(archive, tmp_path / "out", limits=Limits(files=1))
    assert_nothing_left(tmp_path, archive)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_a_header_that_would_fill_the_memory_is_refused(tmp_path, mode):
    """Of a long name, say: tarfile reads it whole before anything can be asked."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 300 << 20
    archive = tmp_path / "a.tar"
    opener = {"w": open, "w:gz": gzip.open, "w:xz": lzma.open}[mode]
    with opener(archive, "wb") as file:
        file.write(member("first").tobuf() + header.tobuf())
    with pytest.raises(DataError, match="a header of 300 MiB"):
        extract(archive, tmp_path / "out")
    assert_nothing_left(tmp_path, archive)


@pytest.mark.parametrize("suffix", ["zip", "tar"])
def test_names_that_no_disk_takes_are_refused(tmp_path, suffix):
    for name in ("x" * 5000, "/".join("ab" * 3000)):
        archive = tmp_path / f"a.{suffix}"
        if suffix == "zip":
            make_zip(archive, [("good.txt", b"1"), (name, b"2")])
        else:
            make_tar(archive, (member("good.txt"), b"1"), (member(name), b"2"))
        with pytest.raises(DataError, match=r"a\.(zip|tar) cannot be unpacked"):
            extract(archive, tmp_path / "out")
        assert_nothing_left(tmp_path, archive)


def test_a_file_where_a_folder_should_be_is_refused(tmp_path):
    archive = make_zip(tmp_path / "a.zip", [("a", b"1"), ("a/b", b"2")])
    with pytest.raises(DataError):
        extract(archive, tmp_path / "out")
    assert_nothing_left(tmp_path, archive)


def test_a_bomb_within_a_bomb_stays_a_file(tmp_path):
    inner = make_zip(tmp_path / "inner.zip", [("zeros", bytes(1 << 20))]).read_bytes()
    (tmp_path / "inner.zip").unlink()
    folder = extract(make_zip(tmp_path / "a.zip", [("inner.zip", inner)]), tmp_path / "out")
    assert [path.name for path in folder.rglob("*")] == ["inner.zip"]


def test_a_folder_of_folders_is_counted_too(tmp_path):
    archive = make_zip(tmp_path / "a.zip", [(f"{number}/", b"") for number in range(50)])
    with pytest.raises(DataError, match="it is one of more than 20 entries"):
        extract(archive, tmp_path / "out", limits=Limits(files=20))
    assert_nothing_left(tmp_path, archive)


def test_one_name_twice_is_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive = make_zip(tmp_path / "a.zip", [("a", b"1"), ("a", b"2")])
    with pytest.raises(DataError, match="another entry has the same name"):
        extract(archive, tmp_path / "out")


@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
def test_a_broken_archive_is_refused(tmp_path, suffix):
    body = os.urandom(50_000)
    good = tmp_path / f"good.{suffix}"
    if suffix == "zip":
        make_zip(good, [("a", body)])
    else:
        make_tar(good, (member("a"), body))
    data = good.read_bytes()
    good.unlink()
    middle = len(data) // 2
    flipped = data[:middle] + b"\0\0\0\0" + data[middle + 4 :]
    # A tar has no checksum of its files' contents.
    for broken in (data[:middle], b"", b"hello", *([flipped] if suffix == "zip" else [])):
        archive = tmp_path / f"a.{suffix}"
        archive.write_bytes(broken)
        with pytest.raises(DataError, match="broken"):
            extract(archive, tmp_path / "out")
        assert_nothing_left(tmp_path, archive)


def test_an_existing_folder_is_not_touched(tmp_path):
    archive = make_zip(tmp_path / "a.zip", [("a", b"1")])
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match="out is there already"):
        extract(archive, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
