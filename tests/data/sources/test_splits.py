import dataclasses
import random

import pytest

from zoo.data.sources.splits import limit_train, make_splits, split_off_test, split_off_validation
from zoo.errors import ConfigError, DataError
from zoo.plugins.specs import ImageSet, Sample


def make(*sizes, shuffle=0):
    samples = [Sample(b"", label, f"{label}/{index}.jpg") for label, size in enumerate(sizes) for index in range(size)]
    if shuffle:
        random.Random(shuffle).shuffle(samples)
    return ImageSet(name="made", classes=tuple("abcdefgh"[: len(sizes)]), train=tuple(samples))


def names(samples):
    return {sample.name for sample in samples}


def count(samples, label):
    return sum(sample.label == label for sample in samples)


@pytest.mark.parametrize("name", ["val", "test"])
def test_a_split_is_stratified_and_loses_nothing(name):
    images = make(100, 50, 7)
    after = (split_off_validation if name == "val" else split_off_test)(images, fraction=0.2, seed=0)
    split = getattr(after, name)
    assert [count(split, label) for label in range(3)] == [20, 10, 1]
    assert names(split) | names(after.train) == names(images.train)
    assert not names(split) & names(after.train)
    assert "20% of each class, seed 0" in after.note


def test_the_order_of_the_file_system_does_not_matter():
    expected = names(split_off_validation(make(40, 60), fraction=0.2, seed=3).val)
    assert names(split_off_validation(make(40, 60, shuffle=1), fraction=0.2, seed=3).val) == expected
    assert names(split_off_validation(make(40, 60), fraction=0.2, seed=4).val) != expected


def test_the_split_never_changes():
    val = split_off_validation(make(5, 5), fraction=0.4, seed=0).val
    assert [sample.name for sample in val] == ["0/0.jpg", "0/2.jpg", "1/1.jpg", "1/4.jpg"]


def test_one_photo_more_hardly_moves_the_others():
    before = names(split_off_validation(make(100, 100), fraction=0.2, seed=0).val)
    after = names(split_off_validation(make(101, 100), fraction=0.2, seed=0).val)
    assert len(before ^ after) <= 2


def test_val_and_test_are_drawn_independently():
    images = make(200, 200)
    val = names(split_off_validation(images, fraction=0.5, seed=0).val)
    test = names(split_off_test(images, fraction=0.5, seed=0).test)
    assert 60 < len(val & test) < 140


def test_a_split_that_exists_is_unchanged():
    images = split_off_validation(make(10, 10), fraction=0.3, seed=0)
    assert split_off_validation(images, fraction=0.5, seed=1) is images
    images = split_off_test(images, fraction=0.3, seed=0)
    assert split_off_test(images, fraction=0.5, seed=1) is images
    assert images.note.count("was taken from the training images") == 2


@pytest.mark.parametrize("split", [split_off_validation, split_off_test])
def test_at_least_one_of_each_class_on_either_side(split):
    for fraction in (0.01, 0.99):
        images = split(make(2, 3), fraction=fraction, seed=0)
        for samples in (images.train, images.val or images.test):
            assert {sample.label for sample in samples} == {0, 1}
    with pytest.raises(DataError, match="class 'b' of 'made' has too few images to split off"):
        split(make(5, 1), fraction=0.2, seed=0)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_a_fraction_out_of_bounds_is_refused(fraction):
    with pytest.raises(ConfigError, match="fraction of the validation split"):
        split_off_validation(make(5, 5), fraction=fraction, seed=0)


def test_limit_keeps_proportions_and_is_exact():
    images = make(300, 100)
    for wanted in (2, 3, 40, 99, 399):
        limited = limit_train(images, count=wanted, seed=0)
        assert len(limited.train) == wanted
        assert abs(count(limited.train, 0) - 0.75 * wanted) <= 1
    assert "Uses 399 of 400 training images" in limited.note


def test_limit_keeps_one_of_each_class_and_changes_no_other_split():
    images = split_off_validation(make(1000, 3, 3), fraction=0.3, seed=0)
    limited = limit_train(images, count=3, seed=0)
    assert [sample.label for sample in limited.train] == [0, 1, 2]
    assert limited.val == images.val


def test_a_smaller_limit_selects_a_subset_of_a_larger_one():
    images = make(100, 80)
    assert names(limit_train(images, count=20, seed=5).train) < names(limit_train(images, count=50, seed=5).train)
    assert names(limit_train(images, count=20, seed=5).train) != names(limit_train(images, count=20, seed=6).train)


def test_limits_that_change_nothing_or_are_too_small():
    images = make(3, 3)
    assert limit_train(images, count=6, seed=0) is images
    with pytest.raises(ConfigError, match="1 training images cannot cover all 2 classes"):
        limit_train(images, count=1, seed=0)


def make_several(count=200, *, rare=2):
    """Returns multi-label data: label a on half of the photos, b on a fifth, c on `rare` of them, d on one."""
    samples = []
    for number in range(count):
        labels = [0] * (number % 2) + [1] * (number % 5 == 0) + [2] * (number < rare) + [3] * (number == 7)
        samples.append(Sample(b"", tuple(labels), f"{number}.jpg"))
    return ImageSet(name="several", classes=("a", "b", "c", "d"), train=tuple(samples), multi_label=True)


def count_labels(samples):
    return [sum(label in sample.labels for sample in samples) for label in range(4)]


def test_photos_with_several_labels_are_stratified_by_each_of_them():
    images = make_splits(make_several(), test_fraction=0.2, val_fraction=0.1, count=None, seed=0)
    assert count_labels(images.test) == [20, 8, 1, 0]
    assert count_labels(images.val) == [8, 3, 0, 0]
    assert sum(not sample.labels for sample in images.test) == 16
    assert names(images.train) | names(images.val) | names(images.test) == names(make_several().train)
    assert len(images.train) + len(images.val) + len(images.test) == 200
    assert "20% of each label, seed 0. It has no image with 'd': too few have it." in images.note
    assert "It has no image with 'c', 'd': too few have it." in images.note
    reordered = dataclasses.replace(make_several(), train=tuple(reversed(make_several().train)))
    again = make_splits(reordered, test_fraction=0.2, val_fraction=0.1, count=None, seed=0)
    assert names(again.test) == names(images.test)
    other = make_splits(make_several(), test_fraction=0.2, val_fraction=0.1, count=None, seed=1)
    assert names(other.test) != names(images.test)


def test_fewer_photos_with_several_labels_keep_every_label():
    images = limit_train(make_several(), count=40, seed=0)
    assert len(images.train) == 40
    assert min(count_labels(images.train)) >= 1
    assert abs(count_labels(images.train)[0] - 20) <= 2
    assert names(limit_train(make_several(), count=20, seed=0).train) <= names(images.train)
    with pytest.raises(ConfigError, match="3 training images cannot cover all 4 classes"):
        limit_train(make_several(), count=3, seed=0)


def test_too_few_photos_with_several_labels_cannot_be_split():
    images = ImageSet(
        name="few", classes=("a", "b"), train=(Sample(b"", (0,), "0"), Sample(b"", (1,), "1")), multi_label=True
    )
    with pytest.raises(DataError, match="'few' has too few images to split off a test set"):
        split_off_test(images, fraction=0.5, seed=0)
