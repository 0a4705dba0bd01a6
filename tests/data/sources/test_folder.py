import os
import sys
import unicodedata

import pytest
from photo_folders import fill

from zoo.data.sources.folder import read_folder, slugify
from zoo.errors import DataError


def listing(samples, classes):
    return [(sample.name, classes[sample.label]) for sample in samples]


def test_class_folders_alone_are_all_train(tmp_path):
    root = fill(tmp_path / "My Pets (1)", "dog/b.JPG", "cat/a.png", "cat/deep/er/c.jpeg")
    images = read_folder(root)
    assert images.name == "my-pets-1"
    assert images.classes == ("cat", "dog")
    assert listing(images.train, images.classes) == [
        ("cat/a.png", "cat"),
        ("cat/deep/er/c.jpeg", "cat"),
        ("dog/b.JPG", "dog"),
    ]
    assert images.train[0].source == root.resolve() / "cat" / "a.png"
    assert (images.val, images.test, images.skipped) == ((), (), ())


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("train", "val", "test"), ("Training", "VALID", "Testing"), ("TRAIN", "validation", "test")],
)
def test_splits_by_all_their_names(tmp_path, train, val, test):
    fill(tmp_path, f"{train}/a/1.jpg", f"{train}/b/1.jpg", f"{val}/b/2.jpg", f"{val}/a/2.jpg", f"{test}/b/3.jpg")
    images = read_folder(tmp_path)
    assert listing(images.train, images.classes) == [(f"{train}/a/1.jpg", "a"), (f"{train}/b/1.jpg", "b")]
    assert listing(images.val, images.classes) == [(f"{val}/a/2.jpg", "a"), (f"{val}/b/2.jpg", "b")]
    # Matched by name: in test, b is the only class and still has label 1.
    assert [sample.label for sample in images.test] == [1]


def test_hidden_files_and_other_files_are_listed_as_skipped(tmp_path):
    fill(
        tmp_path,
        "a/1.jpg",
        "b/2.jpg",
        "a/.DS_Store",
        "a/notes.txt",
        ".git/x.jpg",
        "b/__MACOSX/._2.jpg",
        "README.md",
        "loose.png",
    )
    images = read_folder(tmp_path)
    assert len(images.train) == 2
    assert images.skipped == (
        ".git: made by another program",
        "README.md: not an image",
        "a/.DS_Store: hidden",
        "a/notes.txt: not an image",
        "b/__MACOSX: made by another program",
        "loose.png: outside the class folders",
    )


def test_folders_without_images_beside_the_splits_are_allowed(tmp_path):
    fill(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "docs/readme.txt")
    assert read_folder(tmp_path).skipped == ("docs/readme.txt: not an image",)


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_links_that_point_outside_the_folder_are_skipped(tmp_path):
    outside = fill(tmp_path / "outside", "secret.jpg", "more/1.jpg")
    root = fill(tmp_path / "root", "a/1.jpg", "b/1.jpg")
    (root / "a" / "out.jpg").symlink_to(outside / "secret.jpg")
    (root / "a" / "in.jpg").symlink_to(root / "b" / "1.jpg")
    (root / "a" / "loop").symlink_to(root)
    (root / "b" / "gone.jpg").symlink_to(root / "nowhere.jpg")
    (root / "c").symlink_to(outside / "more")
    images = read_folder(root)
    assert [sample.name for sample in images.train] == ["a/1.jpg", "a/in.jpg", "b/1.jpg"]
    assert images.skipped == (
        "a/loop: a link to a folder",
        "a/out.jpg: a link that points outside the folder",
        "b/gone.jpg: a broken link",
        "c: a link to a folder",
    )


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_the_root_itself_may_be_a_link(tmp_path):
    root = fill(tmp_path / "root", "a/1.jpg", "b/1.jpg")
    (tmp_path / "link").symlink_to(root)
    assert len(read_folder(tmp_path / "link").train) == 2


def test_a_class_is_one_class_in_both_unicode_forms(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    fill(tmp_path, f"train/{decomposed}/1.jpg", "train/tea/1.jpg", f"test/{composed}/2.jpg")
    images = read_folder(tmp_path)
    assert images.classes == (composed, "tea")
    assert [sample.label for sample in images.test] == [0]


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes there alone")
def test_a_file_name_that_is_no_utf8_can_be_printed(tmp_path):
    fill(tmp_path, "a/1.jpg", "b/1.jpg")
    (tmp_path / "a" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"pixels")
    name = read_folder(tmp_path).train[-2].name
    assert name == r"a/caf\xe9.jpg"
    name.encode()


@pytest.mark.parametrize(
    ("names", "message", "hint"),
    [
        ([], "no images and no class folders", "Supported layouts"),
        (["1.jpg", "2.jpg"], r"contains 2 images \(1.jpg, ...\) and no class folders", "Supported layouts"),
        (["a/1.jpg"], "needs two classes, but there is only 'a'", "Supported layouts"),
        (["a/1.jpg", "b/x.txt"], "the class 'b' has no images in train", "delete the folder"),
        (["train/a/1.jpg", "train/b/1.jpg", "test/b/x.txt"], "the class 'b' has no images in test", "delete"),
        (
            ["train/cat/1.jpg", "train/b/1.jpg", "val/cats/1.jpg"],
            "val has the class 'cats', which train lacks",
            "'cat'",
        ),
        (["train/a/1.jpg", "train/b/1.jpg", "test/z/1.jpg"], "test has the class 'z'", "classes of train: a, b"),
        (["train/a/1.jpg", "train/b/1.jpg", "c/1.jpg"], r"beside it, images in 'c' \(1.jpg\)", "into train/"),
        (["train/a/1.jpg", "train/b/1.jpg", "val/1.jpg"], "val contains 1 images .* no class folders", "Supported"),
        (["test/a/1.jpg", "test/b/1.jpg"], "contains test, but no train folder", "Supported layouts"),
        (["train/a/1.jpg", "val/a/1.jpg", "valid/a/1.jpg"], "'val' and 'valid' are both the val split", "Keep one"),
        (
            ["pets/a/1.jpg", "pets/b/1.jpg"],
            "contains only the folder 'pets', which contains a, b",
            "Did you mean .*pets",
        ),
        (["pets/train/a/1.jpg"], "contains only the folder 'pets'", "Did you mean"),
    ],
)
def test_an_unsupported_layout_is_refused(tmp_path, names, message, hint):
    fill(tmp_path, *names)
    with pytest.raises(DataError, match=message) as caught:
        read_folder(tmp_path)
    assert caught.match(hint)


def test_a_missing_folder_and_a_file_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"nowhere does not exist"):
        read_folder(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file is not a folder"):
        read_folder(tmp_path / "file")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_folder_is_named(tmp_path):
    fill(tmp_path, "a/1.jpg", "b/1.jpg")
    (tmp_path / "b").chmod(0)
    try:
        with pytest.raises(DataError, match=r"b cannot be read \(Permission denied\)"):
            read_folder(tmp_path)
    finally:
        (tmp_path / "b").chmod(0o755)


def test_an_unreadable_folder_is_named_for_root_too(tmp_path, monkeypatch):
    def scandir(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"cannot be read \(Permission denied\)"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("hotdog", "hotdog"), ("Für Elise!", "fur-elise"), ("写真", "data"), ("..", "data"), ("x" * 99, "x" * 40)],
)
def test_slugify(name, expected):
    assert slugify(name) == expected


def test_without_strict_data_that_cannot_be_trained_on_is_read(tmp_path):
    fill(tmp_path, "train/a/1.jpg", "train/A/2.jpg", "test/b/3.jpg")
    (tmp_path / "train/empty").mkdir()
    with pytest.raises(DataError):
        read_folder(tmp_path)
    images = read_folder(tmp_path, strict=False)
    assert images.classes == ("A", "a", "b", "empty")
    assert listing(images.test, images.classes) == [("test/b/3.jpg", "b")]


@pytest.mark.skipif(sys.platform == "darwin", reason="the file system takes both for one name")
def test_one_name_in_two_unicode_forms_is_one_class(tmp_path):
    forms = [unicodedata.normalize(form, "käse") for form in ("NFC", "NFD")]
    fill(tmp_path, f"{forms[0]}/1.jpg", f"{forms[1]}/2.jpg", "wurst/3.jpg")
    assert [sample.label for sample in read_folder(tmp_path).train] == [0, 0, 1]
