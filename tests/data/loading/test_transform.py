import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fakes import PREPROCESS, make_photo
from PIL import Image

from zoo.data.images.resize import preprocess
from zoo.data.loading.transform import EvalTransform, ShrinkForCrops, resize, shrink_for_crops
from zoo.preprocess import Preprocess

SPEC = Preprocess(size=(100, 100), resize=110)


def test_the_evaluation_transform_is_preprocess():
    image = make_photo(0, 0, (40, 60))
    np.testing.assert_array_equal(EvalTransform(PREPROCESS)(image), preprocess(image, PREPROCESS))


def test_a_photo_is_shrunk_until_its_smallest_crop_is_as_sharp_as_the_input():
    image = make_photo(0, 0, (400, 600))
    assert shrink_for_crops(SPEC, crop_scale=0.5)(image).shape == (141, 212, 3)  # 100 / sqrt(0.5)
    assert shrink_for_crops(SPEC, crop_scale=0.01)(image).shape == (175, 262, 3)  # at most 1.75 times
    assert shrink_for_crops(SPEC, crop_scale=1.0)(image).shape == (110, 165, 3)  # the size that evaluation resizes to
    small = make_photo(0, 0, (120, 90))
    assert shrink_for_crops(SPEC, crop_scale=0.5)(small) is small


@pytest.mark.parametrize("make", [EvalTransform, lambda spec: shrink_for_crops(spec, crop_scale=0.5)])
def test_equal_transforms_have_equal_keys(make):
    assert make(SPEC).key == make(Preprocess(size=(100, 100), resize=110)).key
    assert make(SPEC).key != make(Preprocess(size=(150, 150), resize=150)).key


def test_evaluation_decodes_at_full_size_and_training_well_above_the_cached_size():
    assert EvalTransform(SPEC).min_side is None
    assert shrink_for_crops(SPEC, crop_scale=1).min_side == 550


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(20, 30), (45, 61), (7, 100), (60, 5), (1, 1)])
def test_resize_matches_pillow(size):
    photo = noise(60, 100)
    ours = resize(photo, size)
    theirs = np.asarray(Image.fromarray(photo).resize(size[::-1], Image.Resampling.BILINEAR))
    assert ours.shape == (*size, 3)
    assert ours.dtype == np.uint8
    assert ours.flags.writeable
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_a_view_of_a_photo_is_resized_like_a_copy():
    photo = noise(60, 100)
    view = photo[5:50:2, 10:90]
    np.testing.assert_array_equal(resize(view, (9, 11)), resize(view.copy(), (9, 11)))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="this system does not list threads")
def test_resize_starts_no_threads():
    photo, barrier = noise(400, 500), threading.Barrier(3)

    def work(number):
        barrier.wait(10)
        resize(photo[number:, number:], (200, 300))
        return len(list(Path("/proc/self/task").iterdir()))

    with ThreadPoolExecutor(3) as pool:
        before = len(list(Path("/proc/self/task").iterdir()))
        assert max(pool.map(work, range(3))) <= before + 3


def test_keys_never_change_so_that_the_files_of_earlier_versions_are_found():
    assert ShrinkForCrops(10).key == "RoomForCrops(side=10)"
    assert EvalTransform(SPEC).key == f"ForEvaluation(spec={SPEC!r})"
