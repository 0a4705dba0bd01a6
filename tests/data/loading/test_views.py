import numpy as np
from fakes import PREPROCESS, encode_png, make_samples

from zoo.data.images.decode import preprocess
from zoo.data.loading.augment_params import Augmentation
from zoo.data.loading.views import augmented_views
from zoo.plugins.specs import Sample

SAMPLE = make_samples("train", 1)[1]


def test_views_are_pictures_of_the_size_that_the_network_sees():
    views = augmented_views(PREPROCESS, Augmentation(crop_scale=0.3, hflip=0.5), count=4)(0, SAMPLE)
    assert len(views) == 4
    assert {view.shape for view in views} == {(16, 16, 3)}
    assert {view.dtype for view in views} == {np.dtype(np.uint8)}
    assert not np.array_equal(views[0], views[1])


def test_views_are_the_same_for_the_same_seed_and_place():
    make = augmented_views(PREPROCESS, Augmentation(crop_scale=0.3), count=2, seed=3)
    np.testing.assert_array_equal(make(5, SAMPLE), make(5, SAMPLE))
    assert not np.array_equal(make(5, SAMPLE), make(6, SAMPLE))


def test_without_augmentation_a_view_is_what_evaluation_sees():
    ramp = np.add.outer(np.arange(24) * 5, np.arange(30) * 3)[:, :, None] + [0, 10, 20]
    (view,) = augmented_views(PREPROCESS, Augmentation(), count=1)(
        0, Sample(encode_png(ramp.astype(np.uint8)), 0, "ramp")
    )
    exact = preprocess(ramp.astype(np.uint8), PREPROCESS)
    assert np.abs(view.astype(int) - exact).max() <= 0.5 * (5 + 3) * 24 / 18 + 1  # cropped half a pixel aside
