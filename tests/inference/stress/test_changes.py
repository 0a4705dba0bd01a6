import numpy as np
import pytest
from fakes import make_photo
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.inference.stress.changes import CHANGES, STRENGTHS

BY_NAME = {change.name: change for change in CHANGES}
KINDS = pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)


def scene(height=60, width=80):
    """A smooth colour gradient with a few hard edges."""
    rows, columns = np.mgrid[:height, :width]
    red = 40 + 160 * columns / width
    green = 40 + 160 * rows / height
    blue = np.where((columns // 8 + rows // 8) % 2, 60, 190)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def change_of(name, strength, pixels, seed=0):
    return BY_NAME[name].apply(pixels, strength, np.random.default_rng(seed))


def distance(one, two):
    return np.abs(one.astype(float) - two).mean()


def test_the_kinds_have_five_strengths_each_but_the_mirror():
    assert {name: len(change.levels) for name, change in BY_NAME.items() if len(change.levels) != STRENGTHS} == {
        "mirror": 1
    }
    assert len(BY_NAME) == 15


@KINDS
def test_a_change_is_a_pure_function_of_pixels_strength_and_seed(change):
    pixels = scene()
    before = pixels.copy()
    pixels.flags.writeable = False
    for strength in range(1, len(change.levels) + 1):
        once, again = (change.apply(pixels, strength, np.random.default_rng(7)) for _ in range(2))
        assert (once.dtype, once.ndim, once.shape[2]) == (np.uint8, 3, 3)
        assert np.array_equal(once, again)
        assert not np.array_equal(once, pixels)
    assert np.array_equal(pixels, before)


@KINDS
@settings(max_examples=15)
@given(height=st.integers(1, 40), width=st.integers(1, 40), strength=st.integers(1, STRENGTHS))
def test_photos_of_any_size_can_be_changed(change, height, width, strength):
    strength = min(strength, len(change.levels))
    pixels = make_photo(1, seed=height, size=(height, width))
    result = change.apply(pixels, strength, np.random.default_rng(0))
    assert result.dtype == np.uint8
    assert result.ndim == 3
    assert min(result.shape) >= 1


@pytest.mark.parametrize(
    "name", ["noise", "blur", "defocus", "jpeg", "low-light", "contrast", "fog", "occlusion", "rotation"]
)
def test_a_greater_strength_changes_more(name):
    pixels = scene(120, 120)
    distances = [distance(change_of(name, strength, pixels), pixels) for strength in (1, 3, 5)]
    assert distances == sorted(distances)
    assert distances[2] > 1.2 * distances[0]


def test_noise_has_its_standard_deviation():
    grey = np.full((200, 200, 3), 128, np.uint8)
    assert change_of("noise", 1, grey).std() == pytest.approx(0.08 * 255, rel=0.03)


@pytest.mark.parametrize("name", ["blur", "defocus"])
def test_a_blur_keeps_plain_areas_and_spreads_a_point_over_its_kernel(name):
    plain = np.full((50, 70, 3), 90, np.uint8)
    assert np.array_equal(change_of(name, 3, plain), plain)
    point = np.zeros((224, 224, 3), np.uint8)
    point[100:104, 100:104] = 255
    spread = change_of(name, 3, point)[..., 0]
    rows, columns = np.nonzero(spread)
    assert spread.max() < 255
    reach = max(np.ptp(rows), np.ptp(columns)) + 1
    assert 4 + 8 <= reach <= 4 + 18  # a line of 17 pixels, or a disk of 13


def test_contrast_keeps_the_mean_and_shrinks_what_differs_from_it():
    pixels = scene()
    changed = change_of("contrast", 1, pixels)
    assert np.allclose(changed.mean(axis=(0, 1)), pixels.mean(axis=(0, 1)), atol=0.5)
    assert changed[..., 0].std() == pytest.approx(0.4 * pixels[..., 0].std(), rel=0.02)


def test_low_light_is_dark_and_a_color_cast_shifts_channels_apart():
    grey = np.full((64, 64, 3), 128, np.uint8)
    assert change_of("low-light", 1, grey).mean() == pytest.approx(128 * 0.25 ** (1 / 2.2), rel=0.05)
    cast = change_of("color-cast", 5, grey)
    assert cast.std(axis=(0, 1)).max() == 0
    assert np.ptp(cast[0, 0]) > 60


def test_occlusion_covers_its_share_with_one_colour():
    pixels = scene(100, 100)
    covered = (change_of("occlusion", 3, pixels) != pixels).any(axis=-1)
    assert covered.mean() == pytest.approx(0.2, abs=0.02)
    rows, columns = np.nonzero(covered)
    assert len(np.unique(change_of("occlusion", 3, pixels)[rows, columns], axis=0)) == 1


def test_a_crop_is_a_part_of_the_photo_and_the_mirror_is_exact():
    pixels = scene(100, 80)
    part = change_of("crop", 3, pixels)
    assert part.shape == (55, 44, 3)
    windows = np.lib.stride_tricks.sliding_window_view(pixels, part.shape)
    assert (windows == part).all(axis=(3, 4, 5)).any()
    assert np.array_equal(change_of("mirror", 1, pixels), pixels[:, ::-1])


def test_scale_and_borders_keep_the_size_and_show_the_photo_smaller():
    pixels = np.full((100, 80, 3), 77, np.uint8)
    assert np.array_equal(change_of("scale", 3, pixels), pixels)  # a plain photo goes on around itself
    framed = change_of("borders", 4, pixels)
    assert framed.shape == pixels.shape
    assert (framed == 77).all(axis=-1).mean() == pytest.approx(0.25, abs=0.01)
    assert len(np.unique(framed.reshape(-1, 3), axis=0)) == 2


def test_resolution_reduces_the_number_of_pixels():
    assert change_of("resolution", 1, scene(100, 80)).shape == (50, 40, 3)
    assert change_of("resolution", 5, scene(20, 20)).shape == (8, 8, 3)
