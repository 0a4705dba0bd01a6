import dataclasses
import json
import math

import pytest

from zoo.errors import RunError
from zoo.preprocess import MAX_SIDE, Preprocess, photos_per_batch, preprocess_from_dict, preprocess_to_dict

PREPROCESS = Preprocess(size=(224, 192), resize=256, interpolation="bicubic")


def test_another_size_scales_the_resize_length():
    assert PREPROCESS.at_size((224, 192)) is PREPROCESS
    assert PREPROCESS.at_size((112, 96)) == dataclasses.replace(PREPROCESS, size=(112, 96), resize=128)


def test_a_crop_keeps_its_share_of_the_shorter_side():
    assert PREPROCESS.with_crop(1).resize == 192
    assert PREPROCESS.with_crop(0.75).resize == 256
    squash = dataclasses.replace(PREPROCESS, resize_mode="squash")
    assert squash.with_crop(0.75) is squash


@pytest.mark.parametrize(
    ("fraction", "size"), [(1.0, (224, 192)), (0.85, (192, 192)), (0.7, (160, 160)), (0.1, (32, 32))]
)
def test_training_images_have_a_fraction_of_the_size_in_steps_of_32_pixels(fraction, size):
    assert PREPROCESS.for_training(fraction) == PREPROCESS.at_size(size)


@pytest.mark.parametrize("side", [16, 32, 48])
def test_training_images_are_never_larger_than_those_of_evaluation(side):
    assert PREPROCESS.at_size((side, side)).for_training(0.85).size == (side, side)


def test_plain_values_survive_json():
    values = json.loads(json.dumps(preprocess_to_dict(PREPROCESS)))
    assert preprocess_from_dict(values, where="here") == PREPROCESS


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"size": None}, "TypeError"),
        ({"size": [224]}, "not enough values"),
        ({"size": [224, 224, 3]}, "too many values"),
        ({"size": [0, 224]}, "a size is not positive"),
        ({"resize": 0}, "a size is not positive"),
        ({"resize": math.inf}, "infinity"),
        ({"resize": "big"}, "invalid literal"),
        ({"resize_mode": "zoom"}, "'zoom' is not one of shorter, longer, squash"),
        ({"interpolation": ["bilinear"]}, "is not one of bilinear, bicubic"),
        ({"mean": [0.5, 0.5]}, "not enough values"),
        ({"mean": [0.5, 0.5, math.nan]}, "not finite"),
        ({"std": [0.5, 0.5, 0]}, "a standard deviation is not positive"),
        ({"rotate": 90}, "unknown fields: 'rotate'"),
    ],
)
def test_invalid_values_are_refused(change, reason):
    with pytest.raises(RunError, match=f"run.json: 'preprocess' is invalid: .*{reason}"):
        preprocess_from_dict({**preprocess_to_dict(PREPROCESS), **change}, where="run.json")


def test_a_missing_field_is_named():
    with pytest.raises(RunError, match="KeyError\\('size'\\)"):
        preprocess_from_dict({}, where="run.json")
    with pytest.raises(RunError, match="is invalid"):
        preprocess_from_dict(3, where="run.json")


def test_fewer_large_photos_are_computed_at_a_time():
    """At 2,048 pixels, 32 photos would take resnet18 30 GB."""
    sizes = [(224, 224), (384, 384), (512, 512), (1024, 1024), (MAX_SIDE, MAX_SIDE)]
    assert [photos_per_batch(size) for size in sizes] == [32, 32, 18, 4, 1]
    assert photos_per_batch((8, 8), most=8) == 8
