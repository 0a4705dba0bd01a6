import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo.data.images.resize import resize


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(20, 30), (45, 61), (7, 100), (60, 5), (1, 1)])
def test_a_photo_is_shrunk_as_pillow_does_it(size):
    photo = noise(60, 100)
    ours = resize(photo, size)
    theirs = np.asarray(Image.fromarray(photo).resize(size[::-1], Image.Resampling.BILINEAR))
    assert ours.shape == (*size, 3)
    assert ours.dtype == np.uint8
    assert ours.flags.writeable
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_a_part_of_a_photo_is_resized_like_a_photo_of_its_own():
    photo = noise(60, 100)
    part = photo[5:50:2, 10:90]
    np.testing.assert_array_equal(resize(part, (9, 11)), resize(part.copy(), (9, 11)))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="this system does not list threads")
def test_no_threads_are_started():
    photo, met = noise(400, 500), threading.Barrier(3)

    def work(number):
        met.wait(10)
        resize(photo[number:, number:], (200, 300))
        return len(list(Path("/proc/self/task").iterdir()))

    with ThreadPoolExecutor(3) as pool:
        before = len(list(Path("/proc/self/task").iterdir()))
        assert max(pool.map(work, range(3))) <= before + 3
