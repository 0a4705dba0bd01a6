import numpy as np
import pytest
from fakes import make_photo

from zoo.data.loading.pixel_buffer import NOT_STORED, PixelBuffer
from zoo.data.loading.pixel_file import PixelFileWriter, open_pixel_file

PHOTOS = [make_photo(0, 0, (4, 5)), make_photo(1, 1, (6, 5)), make_photo(2, 2, (5, 5))]  # 20, 30 and 25 pixels
PIXELS = np.concatenate([photo.reshape(-1, 3) for photo in PHOTOS])


def append_all(buffer):
    return [buffer.append(photo) for photo in PHOTOS]


def test_photos_are_stored_in_memory_while_there_is_room():
    buffer = PixelBuffer(memory=3 * 75, file=None, count=3)
    assert append_all(buffer) == [0, 20, 50]
    np.testing.assert_array_equal(buffer.finish({}), PIXELS)
    assert (buffer.file, buffer.error) == (None, "")


def test_without_a_file_the_photos_beyond_the_memory_are_not_stored():
    buffer = PixelBuffer(memory=3 * 46, file=None, count=3)
    assert append_all(buffer) == [0, NOT_STORED, 20]
    np.testing.assert_array_equal(buffer.finish({}), np.concatenate([PIXELS[:20], PIXELS[50:]]))


@pytest.mark.parametrize("memory", [0, 3 * 50])
def test_when_memory_is_full_all_photos_move_to_the_file(tmp_path, memory):
    buffer = PixelBuffer(memory=memory, file=tmp_path / "a.pack", count=3)
    assert append_all(buffer) == [0, 20, 50]
    assert len(buffer.finish({3: "x.png: broken"})) == 0
    file = open_pixel_file(buffer.file, window=1 << 20, threads=1)
    np.testing.assert_array_equal(file.pixels[0:75], PIXELS)
    assert file.unreadable == {3: "x.png: broken"}


def test_when_the_disk_is_full_the_photos_in_memory_are_not_lost(tmp_path, monkeypatch):
    def fail(self, photo):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PixelFileWriter, "write", fail)
    buffer = PixelBuffer(memory=3 * 50, file=tmp_path / "a.pack", count=3)
    assert append_all(buffer) == [0, 20, NOT_STORED]
    np.testing.assert_array_equal(buffer.finish({}), PIXELS[:50])
    assert (buffer.file, buffer.error) == (None, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_discarding_deletes_the_incomplete_file(tmp_path):
    buffer = PixelBuffer(memory=0, file=tmp_path / "a.pack", count=3)
    append_all(buffer)
    buffer.discard_file()
    assert list(tmp_path.iterdir()) == []
