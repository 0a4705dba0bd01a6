"""Padded batches come out of the preprocessing as they went in."""

import numpy as np
import pytest

from zoo.data.images.resize import preprocess
from zoo.errors import ExportError
from zoo.preprocess import Preprocess
from zoo_export.runtime.batch_padding import make_padder

SQUARE = Preprocess(size=(16, 16), resize=16)
SPECS = [
    SQUARE,
    Preprocess(size=(16, 16), resize=20),
    Preprocess(size=(16, 16), resize=19),
    Preprocess(size=(15, 16), resize=22),
    Preprocess(size=(16, 12), resize=13),
    Preprocess(size=(12, 16), resize=40, interpolation="bicubic"),
    Preprocess(size=(16, 16), resize=16, resize_mode="longer"),
    Preprocess(size=(16, 16), resize=21, resize_mode="longer"),
    Preprocess(size=(16, 12), resize=99, resize_mode="squash"),
]


def make_photo(height=24, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.resize_mode}-{spec.resize}-{spec.size}")
def test_preprocessing_crops_a_padded_image_to_the_image(spec):
    """The graph does what `zoo.data.images.resize.preprocess` does, with the same integers."""
    images = [preprocess(make_photo(height, seed), spec) for seed, height in enumerate((24, 11, 50))]
    batch = make_padder(spec, name="x")(images)
    assert batch.dtype == np.uint8
    for image, padded in zip(images, batch, strict=True):
        np.testing.assert_array_equal(preprocess(padded, spec), image)


@pytest.mark.parametrize("sizes", [(24, 16), (9, 16), (16, 16)])
def test_padding_of_the_photo_is_reproduced(sizes):
    spec = Preprocess(size=sizes, resize=12, resize_mode="longer")
    image = preprocess(make_photo(), spec)
    (padded,) = make_padder(spec, name="x")([image])
    np.testing.assert_array_equal(preprocess(padded, spec), image)


def test_padding_that_cannot_be_reproduced_is_refused():
    with pytest.raises(ExportError, match=r"m\.onnx resizes photos to 12 pixels and pads them to 16 x 16") as caught:
        make_padder(Preprocess(size=(16, 16), resize=12), name="m.onnx")
    assert "--input tensor" in caught.value.hint
