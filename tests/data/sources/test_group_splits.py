import dataclasses

import pytest

from zoo.data.sources.splits import assign_folds, hold_out_fold, limit_train, make_splits, split_off_validation
from zoo.errors import DataError
from zoo.plugins.specs import ImageSet, Sample


def make(*sizes, test=()):
    """Returns an `ImageSet`; a size is that of a group of a class: ``("a", 3, 5)`` are two groups of the class a."""
    samples = [
        Sample(b"", label, f"{name}{number}/{index}.jpg", f"{name}{number}")
        for label, (name, *groups) in enumerate(sizes)
        for number, size in enumerate(groups)
        for index in range(size)
    ]
    return ImageSet(name="made", classes=tuple(size[0] for size in sizes), train=tuple(samples), test=tuple(test))


def without_groups(images):
    return dataclasses.replace(images, train=tuple(sample._replace(group="") for sample in images.train))


def groups(samples):
    return {sample.group for sample in samples}


def names(samples):
    return {sample.name for sample in samples}


MADE = make(("a", *[4] * 30), ("b", *[2] * 30), ("c", *[7] * 5))


def test_no_group_straddles_a_split_and_nothing_is_lost():
    after = make_splits(MADE, test_fraction=0.2, val_fraction=0.1, count=None, seed=0)
    assert not groups(after.train) & groups(after.val)
    assert not groups(after.test) & groups((*after.train, *after.val))
    assert names(after.train) | names(after.val) | names(after.test) == names(MADE.train)
    assert after.random_splits == ("test", "val")
    for label, total in enumerate((120, 60, 35)):
        assert sum(sample.label == label for sample in after.test) == pytest.approx(0.2 * total, abs=2)
    assert "about 20% of each class, in whole groups (13 of 65), seed 0." in after.note


def test_the_seed_decides_and_the_order_of_the_photos_does_not():
    turned = dataclasses.replace(MADE, train=MADE.train[::-1])
    val = [names(split_off_validation(each, fraction=0.2, seed=seed).val) for each, seed in ((MADE, 0), (turned, 0))]
    assert val[0] == val[1] != names(split_off_validation(MADE, fraction=0.2, seed=1).val)


def test_photos_without_a_group_are_groups_of_their_own():
    mixed = make(("a", *[3] * 10), ("b", 30))
    alone = tuple(sample._replace(group="") if sample.label else sample for sample in mixed.train)
    after = split_off_validation(dataclasses.replace(mixed, train=alone), fraction=0.2, seed=0)
    assert not groups(after.train) & (groups(after.val) - {""})
    assert sum(sample.label == 1 for sample in after.val) == 6


def test_the_only_group_of_a_class_stays_in_train_and_the_note_names_it():
    after = split_off_validation(make(("a", *[4] * 10), ("lone", 9)), fraction=0.25, seed=0)
    assert "lone0" in groups(after.train)
    assert "without classes of a single group (lone)" in after.note


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (make(("a", 6)), "all 6 images left to train on are in one group, so no validation split"),
        (make(("a", 6), ("b", 4)), "all 10 images left to train on are in groups that are the only ones of a class"),
    ],
)
def test_too_few_groups_are_an_error(images, message):
    with pytest.raises(DataError, match=message) as caught:
        split_off_validation(images, fraction=0.2, seed=0)
    assert "--groups none" in caught.value.hint


def test_a_limit_takes_photos_of_as_many_groups_as_possible():
    limited = limit_train(MADE, count=65, seed=0)
    assert len(limited.train) == 65
    assert [len({sample.group for sample in limited.train if sample.label == label}) for label in (0, 1)] == [30, 18]
    after = make_splits(MADE, test_fraction=0.2, val_fraction=0.2, count=65, seed=0)
    assert not groups(after.train) & groups(after.val)
    assert len(after.train) + len(after.val) == 65


def test_a_test_fraction_of_zero_takes_no_test_split():
    after = make_splits(MADE, test_fraction=0, val_fraction=0.2, count=None, seed=0)
    assert after.test == ()
    assert len(after.train) + len(after.val) == len(MADE.train)


@pytest.mark.parametrize("images", [MADE, without_groups(MADE)], ids=["groups", "no groups"])
def test_every_photo_is_held_out_by_one_fold(images):
    fold_of = assign_folds(images, 5, seed=0)
    assert fold_of.keys() == names(images.train)
    for number in range(1, 6):
        after = make_splits(images, test_fraction=0.2, val_fraction=0.1, count=None, seed=0, fold=(number, 5))
        assert names(after.test) == {name for name, fold in fold_of.items() if fold == number}
        assert not (names(after.train) | names(after.val)) & names(after.test)
        assert not (groups(after.train) | groups(after.val)) & groups(after.test) - {""}
        assert len(after.test) == pytest.approx(43, abs=1)
    assert assign_folds(images, 5, seed=1) != fold_of


def test_a_fold_takes_the_place_of_the_test_split_of_the_data():
    given = Sample(b"", 0, "given.jpg", "given")
    after = hold_out_fold(dataclasses.replace(MADE, test=(given,)), 2, 5, seed=0)
    assert "given.jpg" not in names((*after.train, *after.test))
    assert "Fold 2 of 5 (43 images) is the test split, seed 0." in after.note
    assert "The test split of the data (1 images) is not used." in after.note


def test_the_only_group_of_a_class_is_in_no_fold():
    images = make(("a", *[4] * 10), ("lone", 9))
    fold_of = assign_folds(images, 2, seed=0)
    assert len(fold_of) == 40
    after = hold_out_fold(images, 1, 2, seed=0)
    assert "lone0" in groups(after.train)
    assert "9 images are in no fold: they are in the only group of a class." in after.note


@pytest.mark.parametrize(
    ("images", "folds", "message"),
    [
        (make(("a", 3, 3), ("b", 2, 2)), 5, "has 4 groups: too few for 5 folds"),
        (make(("a", 3, 3, 3), ("b", 9)), 5, "has 3 groups, besides 1 that are the only ones of a class: too few"),
        (without_groups(make(("a", 3), ("b", 9))), 20, "has 12 images: too few for 20 folds"),
        (without_groups(make(("a", 2), ("b", 9))), 2, "The class 'a' of 'made' has too few images for cross-valid.*2"),
    ],
)
def test_too_few_for_the_folds_are_an_error(images, folds, message):
    with pytest.raises(DataError, match=message):
        assign_folds(images, folds, seed=0)
