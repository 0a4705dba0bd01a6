import numpy as np
import pytest
from PIL import Image

from zoo import Preprocess, Sample
from zoo.config import make_config
from zoo.errors import ImageError
from zoo.views import augmented_views

PREPROCESS = Preprocess(size=(24, 32), resize=28)


@pytest.fixture
def sample(tmp_path):
    rows, columns = np.mgrid[:60, :90]
    pixels = np.stack([rows * 4, columns * 2, (rows + columns)], axis=2).astype(np.uint8)  # smooth, as photos are
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return Sample(tmp_path / "photo.png", 0, "photo.png")


def test_views_have_the_size_of_the_input_and_differ(sample):
    views = augmented_views(make_config("x", data="y"), PREPROCESS, count=3)(0, sample)
    assert [(view.shape, view.dtype) for view in views] == [((24, 32, 3), np.uint8)] * 3
    assert not np.array_equal(views[0], views[1])


def test_the_seed_and_the_photo_decide_the_draws(sample):
    def first(seed, index):
        return augmented_views(make_config("x", data="y", seed=seed), PREPROCESS)(index, sample)[0]

    assert np.array_equal(first(0, 0), first(0, 0))
    assert not np.array_equal(first(0, 0), first(1, 0))
    assert not np.array_equal(first(0, 0), first(0, 1))


def test_without_augmentation_it_is_what_evaluation_sees(sample):
    from zoo.data.image import decode, preprocess

    config = make_config("x", data="y", crop_scale=1.0, hflip=0.0)
    (view,) = augmented_views(config, PREPROCESS, count=1)(0, sample)
    seen = preprocess(decode(sample.source), PREPROCESS)
    assert np.abs(view.astype(int) - seen.astype(int)).mean() < 2


def test_an_unreadable_photo_is_named(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        augmented_views(make_config("x", data="y"), PREPROCESS)(0, Sample(tmp_path / "broken.jpg", 0, "broken.jpg"))
