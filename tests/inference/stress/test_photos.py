import numpy as np
import pytest
from fakes import make_photo
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.data.images.resize import preprocess
from zoo.inference.stress.photos import random_of, shrink_to_network, stratified_order
from zoo.preprocess import Preprocess

MODES = pytest.mark.parametrize("mode", ["shorter", "longer", "squash"])


@MODES
@settings(max_examples=60)
@given(height=st.integers(1, 60), width=st.integers(1, 300), resize=st.integers(8, 40), crop=st.integers(4, 32))
def test_an_unchanged_photo_is_preprocessed_exactly_as_without_a_stress_test(mode, height, width, resize, crop):
    spec = Preprocess(size=(crop, crop + 1), resize=resize, resize_mode=mode, interpolation="bicubic")
    photo = make_photo(0, seed=width, size=(height, width))
    assert np.array_equal(preprocess(shrink_to_network(photo, spec), spec), preprocess(photo, spec))


def test_a_very_long_photo_keeps_what_the_network_may_see_of_it():
    spec = Preprocess(size=(32, 32), resize=32)
    assert shrink_to_network(make_photo(0, seed=0, size=(20, 2000)), spec).shape == (32, 64, 3)


def test_each_beginning_of_the_order_has_the_shares_of_the_classes():
    labels = [0] * 60 + [1] * 30 + [2] * 10
    order = stratified_order(labels, seed=3)
    assert sorted(order) == list(range(100))
    for count in (10, 20, 50):
        assert np.bincount(np.array(labels)[order[:count]]) == pytest.approx(
            [0.6 * count, 0.3 * count, 0.1 * count], abs=1
        )
    assert np.array_equal(order, stratified_order(labels, seed=3))
    assert not np.array_equal(order, stratified_order(labels, seed=4))


def test_random_numbers_depend_on_seed_kind_and_photo_alone():
    def draw(*key):
        return random_of(*key).random(4).tolist()

    assert draw(0, "noise", "a.jpg") == draw(0, "noise", "a.jpg")
    assert (
        len({tuple(draw(*key)) for key in [(0, "noise", "a"), (1, "noise", "a"), (0, "fog", "a"), (0, "noise", "b")]})
        == 4
    )
    assert draw(0, "noise", "\udcff.jpg")  # a name that is not UTF-8
