import dataclasses
from pathlib import Path

import numpy as np
import pytest
from fakes import CLASSES, encode_png, make_images, make_photo

from zoo.data.sources.image_set import check_image_set
from zoo.data.sources.load import load_source
from zoo.data.sources.resolve import resolve_data
from zoo.errors import ConfigError, DataError
from zoo.plugins.specs import ImageSet, Sample

PHOTO = encode_png(make_photo(0, 0))


def one_photo(source=PHOTO, label=0, name="a.png"):
    return make_images(train=(Sample(source, label, name),))


def test_a_good_image_set_is_returned_as_it_is():
    images = make_images()
    assert check_image_set(images) == images


def test_lists_numbers_of_numpy_and_any_path_are_accepted(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    train = [
        Sample("~/a.png", np.int64(0), "a"),
        Sample(Path("b.png"), 1, "b"),
        Sample(bytearray(PHOTO), 2, "c"),
        Sample(memoryview(PHOTO), 2, "d"),
    ]
    images = check_image_set(ImageSet(name="My photos!", classes=list(CLASSES), train=train))
    assert images == ImageSet(
        name="my-photos",
        classes=CLASSES,
        train=(
            Sample(Path("/home/me/a.png"), 0, "a"),
            Sample(Path("b.png"), 1, "b"),
            Sample(PHOTO, 2, "c"),
            Sample(PHOTO, 2, "d"),
        ),
    )
    assert type(images.train[0].label) is int


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (make_images(classes="abc"), "The classes of the ImageSet cannot be of type str."),
        (make_images(classes=("a", "a")), "The ImageSet has the class 'a' twice."),
        (make_images(classes=("a", 3)), "The ImageSet has the class 3."),
        (make_images(train=None), "The train split of the ImageSet cannot be of type NoneType."),
        (make_images(train=[("a.png", 0)]), "train[0] of the ImageSet cannot be of type tuple."),
        (make_images(test=["a.png"]), "test[0] of the ImageSet cannot be of type str."),
        (one_photo(label=3), "train[0] of the ImageSet, a.png, has the label 3, but there are 3 classes."),
        (one_photo(label="red"), "has the label 'red', but there are 3 classes."),
        (one_photo(label=True), "has the label True, but"),
        (one_photo(source=make_photo(0, 0)), "train[0] of the ImageSet, a.png, has a source of type ndarray."),
        (one_photo(source=None), "has a source of type NoneType."),
        (one_photo(name=""), "train[0] of the ImageSet has the name ''."),
        (one_photo(name=None), "train[0] of the ImageSet has the name None."),
        (make_images(val=make_images().test), "2 photos of the ImageSet are named 'test/red/0.png'."),
        (make_images(train=(), val=(), test=()), "The ImageSet has no photos."),
    ],
)
def test_what_is_wrong_is_named_with_advice(images, message):
    with pytest.raises(DataError) as caught:
        check_image_set(images)
    assert message in caught.value.message
    assert caught.value.hint


def test_an_image_set_is_data(registry):
    images = make_images()
    source = resolve_data(images, registry=registry, options={})
    assert source.is_local
    assert load_source(source) == images
    with pytest.raises(ConfigError, match="An ImageSet has no options, but got size"):
        resolve_data(images, registry=registry, options={"size": "1"})
    with pytest.raises(DataError):
        resolve_data(dataclasses.replace(images, classes=()), registry=registry, options={})


def test_a_recorded_image_set_must_be_passed_again(registry):
    with pytest.raises(DataError, match="The photos of 'colours' were passed in Python") as caught:
        resolve_data("ImageSet:colours", registry=registry, options={})
    assert caught.value.hint == "Pass the same zoo.ImageSet again in Python: data=images."


@pytest.mark.parametrize("data", [None, 3, b"photos", ["photos"], make_photo(0, 0)])
def test_data_of_another_type_is_refused_with_what_can_be_passed(registry, data):
    with pytest.raises(DataError, match=f"The data cannot be of type {type(data).__name__}") as caught:
        resolve_data(data, registry=registry, options={})
    assert "a folder" in caught.value.hint
    assert "zoo.ImageSet" in caught.value.hint


def test_a_path_object_is_a_path_and_never_a_name(registry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve_data("colours", registry=registry, options={}).offer is not None
    with pytest.raises(DataError, match="The folder colours does not exist"):
        resolve_data(Path("colours"), registry=registry, options={})
    (tmp_path / "colours").mkdir()
    assert resolve_data(Path("colours"), registry=registry, options={}).path == Path("colours")


def several(label, *, multi_label=True):
    return make_images(train=(Sample(PHOTO, label, "a.png"),), val=(), test=(), multi_label=multi_label)


def test_sets_of_labels_are_sorted_and_may_be_empty():
    assert check_image_set(several([2, np.int64(0)])).train[0].label == (0, 2)
    assert check_image_set(several(())).train[0].label == ()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (several(1), r"train\[0\] of the ImageSet, a.png, has the label 1, but multi_label is True"),
        (several((0, 1), multi_label=False), r"has the labels \(0, 1\), but multi_label is False"),
        (several((0, 0)), r"a.png, has a label twice: \(0, 0\)"),
        (several((0, 3)), "has the label 3, but there are 3 classes"),
        (several((0, True)), "has the label True, but there are 3 classes"),
        (several(0, multi_label="no"), "The ImageSet has multi_label='no'"),
    ],
)
def test_wrong_sets_of_labels_are_named(images, message):
    with pytest.raises(DataError, match=message) as caught:
        check_image_set(images)
    assert caught.value.hint
