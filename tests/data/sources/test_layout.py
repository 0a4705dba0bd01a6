"""What the user held out is never trained on: splits are understood by many names, or refused by name."""

import sys

import pytest
from photo_folders import both, fill

from zoo.data.sources.folder import read_folder
from zoo.errors import DataError


def counts(images):
    return [len(split) for split in (images.train, images.val, images.test)]


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set/{}", "test_set/{}"),
        ("seg_train/seg_train/{}", "seg_test/seg_test/{}"),
        ("train/images/{}", "test/images/{}"),
        ("Entraînement/{}", "Essai/{}"),
        ("Обучение/{}", "Тест/{}"),
        ("训练集/{}", "测试集/{}"),
        ("train/{}", "holdout/{}"),
        ("{}/train", "{}/test"),
        ("{}/{}_training", "{}/{}_test"),
        ("{}/Train images", "{}/Held out/more"),
    ],
)
def test_splits_by_other_names_and_in_other_places(tmp_path, train, test):
    def names(pattern, count):
        return [f"{pattern.format(*[label] * 2)}/{n}.jpg" for label in ("cat", "dog") for n in range(count)]

    images = read_folder(fill(tmp_path, *names(train, 3), *names(test, 2)))
    assert images.classes == ("cat", "dog")
    assert counts(images) == [6, 0, 4]
    assert {images.classes[sample.label] for sample in images.test if "cat" in sample.name} == {"cat"}


def test_three_splits_inside_the_classes(tmp_path):
    images = read_folder(fill(tmp_path, *both("{}/train", 3), *both("{}/val", 2), *both("{}/test")))
    assert counts(images) == [6, 4, 2]
    assert [sample.label for sample in images.val] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("names", "message", "hint"),
    [
        (
            both("oppimis/{}") + both("koe/{}"),
            "'koe' and 'oppimis' contain the same folders .cat, dog.: either may be",
            "train, val",
        ),
        (both("fold1/{}") + both("fold2/{}") + both("fold3/{}"), "contain the same folders", "CSV file"),
        (both("{}/0") + both("{}/cam1"), "'cat' and 'dog' contain the same folders .0, cam1.", "if cat is one, move"),
        (both("{}/day") + both("{}/night"), "'cat' and 'dog' contain the same folders", "If day is a class"),
        (both("{}_train") + both("{}_test"), "'cat_train', 'dog_test', .* look like splits of several", "train/CLASS"),
        (both("train/{}") + both("tets/{}"), "contains a train folder and, beside it, images in 'tets'", "into train/"),
        (["cat/train/1.jpg", "cat/test/2.jpg", "dog/3.jpg"], "test looks like a split.*'dog' has no such", "every"),
        (["cat/a/1.jpg", "cat/a/test/2.jpg", "dog/3.jpg"], "cat/a/test looks like a test split", "rename the folder"),
        (["cat/0.jpg", "cat/x/essai/1.jpg", "cat/x/train/2.jpg", "dog/3.jpg"], "cat/x/essai looks like", "rename"),
        (["train/cat/1.jpg", "train/cat/val/2.jpg", "train/dog/3.jpg"], "train/cat/val looks like a val", "val/CLASS"),
        ([*both("images/train/{}"), *both("images/test/{}"), "labels/1.txt"], "contains test, train", "Did you mean"),
        (
            [*both("{}"), "train.txt", "test.txt"],
            r"contains test\.txt and train\.txt, which may list",
            "move the lists",
        ),
        (both("{}/test"), "contains test, but no train folder", "layouts"),
        (both("training/{}") + both("train_set/{}"), "are both the train split", "Keep one"),
    ],
)
def test_what_may_be_splits_is_refused_by_name(tmp_path, names, message, hint):
    with pytest.raises(DataError, match=message) as caught:
        read_folder(fill(tmp_path, *names))
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "classes",
    [
        ("test_tube", "train_station", "bullet_train"),
        ("valid", "invalid"),
        ("driving_test", "bus_stop"),
    ],
)
def test_classes_with_such_words_in_their_names_are_classes(tmp_path, classes):
    if "valid" in classes:  # a usual name of a split
        fill(tmp_path, *both("train/{}", classes=classes))
    else:
        fill(tmp_path, *both("{}", classes=classes))
    assert read_folder(tmp_path).classes == tuple(sorted(classes))


def test_a_class_in_a_split_may_be_named_train(tmp_path):
    classes = ("bus", "train")
    images = read_folder(fill(tmp_path, *both("train/{}", 2, classes=classes), *both("test/{}", classes=classes)))
    assert (images.classes, counts(images)) == (classes, [4, 0, 2])


@pytest.mark.parametrize("views", [("front", "back"), ("Front 1", "left", "right"), ("raw", "augmented")])
@pytest.mark.parametrize("outer", ["{}", "train/{}"])
def test_the_same_views_inside_all_classes_belong_to_the_classes(tmp_path, outer, views):
    names = [f"{outer.format(label)}/{view}/1.jpg" for label in ("cat", "dog") for view in views]
    images = read_folder(fill(tmp_path, *names))
    assert images.classes == ("cat", "dog")
    assert len(images.train) == 2 * len(views)


def test_different_folders_inside_classes_belong_to_the_classes(tmp_path):
    images = read_folder(fill(tmp_path, "cat/a/1.jpg", "cat/b/2.jpg", "dog/a/3.jpg", "dog/c/4.jpg"))
    assert [images.classes[sample.label] for sample in images.train] == ["cat", "cat", "dog", "dog"]


@pytest.mark.parametrize("test", ["test/{}.jpg", "test/test/{}.jpg", "test/unknown/{}.jpg", "test/images/{}.jpg"])
def test_photos_without_labels_are_left_out_with_a_note(tmp_path, test):
    images = read_folder(fill(tmp_path, *both("train/{}", 3), *(test.format(number) for number in range(4))))
    assert counts(images) == [6, 0, 0]
    folder = test.rpartition("/")[0]
    assert images.note == f"{folder} contains no class folders: its 4 photos have no labels and are left out."
    assert images.left_out == f"4 of 10 photos left out: 4 without labels ({folder})."
    assert images.warnings == ()


def test_photos_to_predict_beside_the_splits_are_left_out_with_a_note(tmp_path):
    images = read_folder(fill(tmp_path, *both("seg_train/{}", 2), *both("seg_test/{}"), "seg_pred/seg_pred/1.jpg"))
    assert counts(images) == [4, 0, 2]
    assert "seg_pred contains no class folders" in images.note


def test_a_single_list_beside_class_folders_is_a_warning(tmp_path):
    warnings = read_folder(fill(tmp_path, *both("{}"), "test.csv", "train_test_split.txt", "notes.txt")).warnings
    assert warnings == tuple(
        f"{name} may list the photos of splits, and is not read." for name in ("test.csv", "train_test_split.txt")
    )


def test_names_of_photos_that_start_with_splits_are_a_warning(tmp_path):
    names = [f"{label}/{split}_{number}.jpg" for label in "ab" for split in ("train", "test") for number in range(3)]
    (warning,) = read_folder(fill(tmp_path, *names, "a/other.jpg")).warnings
    assert warning == (
        "The names of photos look like those of splits (a/test_0.jpg and a/train_0.jpg), "
        "but the splits are taken at random."
    )


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_split_behind_a_link_is_named(tmp_path):
    fill(tmp_path / "outside", *both("{}"))
    root = fill(tmp_path / "root", *both("train/{}", 3))
    (root / "test").symlink_to(tmp_path / "outside")
    (warning,) = read_folder(root).warnings
    assert warning == "The folder test looks like a split, but is left out: it is a link to a folder."
    (root / "train").rename(tmp_path / "moved")
    (root / "train").symlink_to(tmp_path / "moved")
    with pytest.raises(DataError, match="contains no images and no class folders") as caught:
        read_folder(root)
    assert caught.value.hint.startswith("8 of 8 photos left out: 8 behind a link to a folder (test, ...).")


@pytest.mark.parametrize(
    ("names", "split", "classes"),
    [
        (both("{}", classes=["cat"]), "test", ("cat",)),
        (both("test/{}"), "test", ("cat", "dog")),
        (both("val/{}"), "val", ("cat", "dog")),
        (["cat/1.jpg", "dog/readme.txt"], "test", ("cat",)),
        (["cat/indoor/1.jpg", "cat/outdoor/2.jpg"], "test", ("cat",)),
        (["cat/front/1.jpg", "cat/side/2.jpg", "dog/front/1.jpg", "dog/side/2.jpg"], "test", ("cat", "dog")),
        (["cat/1.jpg", "dog/1.jpg", "train.txt", "test.txt"], "test", ("cat", "dog")),
    ],
)
def test_photos_to_evaluate_need_no_training_split_and_no_second_class(tmp_path, names, split, classes):
    images = read_folder(fill(tmp_path, *names), known=("bird", "cat", "dog"))
    assert images.classes == classes
    assert [each for each in ("train", "val", "test") if getattr(images, each)] == [split]


def test_photos_without_labels_cannot_be_evaluated(tmp_path):
    with pytest.raises(DataError, match="contains no photos with labels"):
        read_folder(fill(tmp_path, "test/1.jpg"), known=("cat", "dog"))


def test_a_folder_without_class_folders_names_the_tables_beside_the_photos(tmp_path):
    for name in ("train/images/1.jpg", "test/images/2.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"pixels")
    (tmp_path / "labels.csv").write_text("path,labels\ntrain/images/1.jpg,a|b\n")
    (tmp_path / "MANIFEST.csv").write_text("path,origin\ntrain/images/1.jpg,here\n")
    with pytest.raises(DataError, match="and no class folders") as caught:
        read_folder(tmp_path)
    assert caught.value.hint == f"The labels may be in a table: pass {tmp_path.resolve() / 'labels.csv'}."
