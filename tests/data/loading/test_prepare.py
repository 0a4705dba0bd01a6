import numpy as np
import pytest
from fakes import PREPROCESS, make_photo

from zoo.data.images.decode import preprocess
from zoo.data.loading.prepare import for_evaluation, with_room_for_crops
from zoo.preprocess import Preprocess

SPEC = Preprocess(size=(100, 100), resize=110)


def test_for_evaluation_is_the_one_preprocessing():
    image = make_photo(0, 0, (40, 60))
    np.testing.assert_array_equal(for_evaluation(PREPROCESS)(image), preprocess(image, PREPROCESS))


def test_a_large_photo_is_shrunk_until_its_smallest_crop_is_as_sharp_as_the_input():
    image = make_photo(0, 0, (400, 600))
    assert with_room_for_crops(SPEC, crop_scale=0.5)(image).shape == (141, 212, 3)  # 100 / sqrt(0.5)
    assert with_room_for_crops(SPEC, crop_scale=0.01)(image).shape == (175, 262, 3)  # at most 1.75 times
    assert with_room_for_crops(SPEC, crop_scale=1.0)(image).shape == (110, 165, 3)  # what evaluation resizes to
    small = make_photo(0, 0, (120, 90))
    assert with_room_for_crops(SPEC, crop_scale=0.5)(small) is small


@pytest.mark.parametrize("make", [for_evaluation, lambda spec: with_room_for_crops(spec, crop_scale=0.5)])
def test_what_prepares_alike_is_described_alike(make):
    assert repr(make(SPEC)) == repr(make(Preprocess(size=(100, 100), resize=110)))
    assert repr(make(SPEC)) != repr(make(Preprocess(size=(150, 150), resize=150)))


def test_what_is_scored_is_decoded_whole_and_what_is_learnt_from_well_above_its_size():
    assert for_evaluation(SPEC).enough is None
    assert with_room_for_crops(SPEC, crop_scale=1).enough == 550
