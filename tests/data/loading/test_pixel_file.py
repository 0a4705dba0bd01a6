import errno
import os
import time
from types import SimpleNamespace

import numpy as np
import pytest
from fakes import encode_png, make_photo, make_samples

from zoo.data.loading import pixel_file as file_module
from zoo.data.loading.pixel_file import MappedPixels, PixelFileWriter, make_room, open_pixel_file, pixel_file_path
from zoo.data.loading.transform import ShrinkForCrops
from zoo.plugins.specs import Sample

PHOTOS = [make_photo(0, 0, (5, 7)), make_photo(1, 1, (9, 4)), make_photo(2, 2, (6, 6))]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "photos" / "abc.pack"
    writer = PixelFileWriter(path, expected=1000)
    for each in PHOTOS:
        writer.write(each)
    writer.finish({3: "x.png: broken"})
    return path


def opened(path, **changes):
    return open_pixel_file(path, **{"window": 1 << 20, "threads": 2, **changes})


def test_a_written_file_is_read_back(path):
    file = opened(path)
    assert file.sizes.tolist() == [[5, 7], [9, 4], [6, 6]]
    assert file.unreadable == {3: "x.png: broken"}
    np.testing.assert_array_equal(file.pixels[0 : len(file.pixels)], np.concatenate([p.reshape(-1, 3) for p in PHOTOS]))
    assert [each.name for each in path.parent.iterdir()] == ["abc.pack"]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[:-1], id="cut at the end"),
        pytest.param(lambda data: data[1:], id="cut at the beginning"),
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: data[:50] + bytes([data[50] ^ 1]) + data[51:], id="one bit"),
        pytest.param(lambda data: data.replace(b'"key": "abc"', b'"key": "abd"'), id="other photos"),
        pytest.param(lambda data: data.replace(b'"format": 1', b'"format": 0'), id="other format"),
        pytest.param(lambda data: data.replace(b'"sizes": [[5', b'"sizes": [[6'), id="other sizes"),
        pytest.param(lambda data: data.replace(b'"sizes"', b'"seizs"'), id="no sizes"),
        pytest.param(lambda data: b"x" * len(data), id="something else"),
    ],
)
def test_a_damaged_file_is_not_opened(path, damage):
    path.write_bytes(damage(path.read_bytes()))
    assert opened(path) is None


def test_a_missing_file_is_not_an_error(tmp_path):
    assert opened(tmp_path / "none.pack") is None


def test_the_name_depends_on_photos_and_transform(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    file = tmp_path / "a.png"
    file.write_bytes(encode_png(PHOTOS[0]))
    some = [*make_samples("train", 1), Sample(file, 0, "a"), Sample(tmp_path / "gone.png", 0, "gone")]
    first = pixel_file_path(some, ShrinkForCrops(10))
    assert first.parent == tmp_path / "home" / "photos"
    assert pixel_file_path(list(some), ShrinkForCrops(10)) == first
    paths = {first, pixel_file_path(some, ShrinkForCrops(11)), pixel_file_path(some[::-1], ShrinkForCrops(10))}
    paths.add(pixel_file_path(some[1:], ShrinkForCrops(10)))
    os.utime(file, (1, 1))
    paths.add(pixel_file_path(some, ShrinkForCrops(10)))
    monkeypatch.setattr(file_module.PIL, "__version__", "0.1")
    paths.add(pixel_file_path(some, ShrinkForCrops(10)))
    assert len(paths) == 6


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(file_module.mmap, "MADV_DONTNEED"), reason="no madvise on this system")
def test_pages_that_were_read_are_returned_to_the_system(tmp_path):
    count = 4 << 20
    content = np.random.default_rng(0).integers(0, 255, 3 * count, dtype=np.uint8)
    (tmp_path / "p").write_bytes(content)
    pixels = MappedPixels(tmp_path / "p", count, window=1 << 20)

    def resident():
        with open("/proc/self/smaps") as lines:  # noqa: PTH123
            text = lines.read().partition(str(tmp_path / "p"))[2]
        return int(text.partition("Rss:")[2].split()[0]) << 10

    total, most = 0, 0
    for start in range(0, count, 1 << 16):
        total += int(pixels[start : start + (1 << 16)].sum())
        most = max(most, resident())
    assert total == int(content.sum(dtype=np.int64))
    assert most <= 6 << 20  # of 12 MiB: the window, and what the system maps with it


def test_a_discarded_file_is_deleted(tmp_path):
    writer = PixelFileWriter(tmp_path / "a.pack", expected=10)
    writer.write(PHOTOS[0])
    writer.discard()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def full_disk(monkeypatch):
    def has(free):
        monkeypatch.setattr(file_module.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))

    return has


def old_files(folder):
    for age, name in enumerate("abc"):
        (folder / f"{name}.pack").write_bytes(bytes(100))
        os.utime(folder / f"{name}.pack", (time.time() - age, time.time() - age))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("free", "expected", "left"),
    [
        pytest.param(1000, 300, "abc", id="room for all"),
        pytest.param(500, 150, "ab", id="one too many"),
        pytest.param(300, 200, "a", id="two too many"),
        pytest.param(300, 300, "", id="just this one"),
    ],
)
def test_the_least_recently_used_files_are_deleted_first(tmp_path, full_disk, free, expected, left):
    old_files(tmp_path)
    full_disk(free)
    make_room(tmp_path, expected)
    assert names(tmp_path) == [f"{name}.pack" for name in left]


def test_without_room_nothing_is_deleted_and_nothing_is_written(tmp_path, full_disk):
    old_files(tmp_path)
    full_disk(300)
    with pytest.raises(OSError, match="are needed, but only") as error:
        PixelFileWriter(tmp_path / "new.pack", expected=301)
    assert error.value.errno == errno.ENOSPC
    assert names(tmp_path) == ["a.pack", "b.pack", "c.pack"]


def test_incomplete_files_are_deleted_after_a_day(tmp_path):
    for name, age in (("new.part", 0), ("old.part", 2 * 24 * 3600)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age, time.time() - age))
    make_room(tmp_path, 0)
    assert names(tmp_path) == ["new.part"]


def test_opening_a_file_marks_it_as_used(path):
    os.utime(path, (1, 1))
    opened(path)
    assert time.time() - path.stat().st_mtime < 60
