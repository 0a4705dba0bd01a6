"""Photos that are left out are counted by reason, and a class that loses many is a warning."""

import pytest
from photo_folders import JPEG, both, fill, remove_pillow_heif

from zoo.data.sources.folder import read_folder
from zoo.errors import DataError


def test_one_line_counts_the_photos_by_reason(tmp_path, monkeypatch):
    remove_pillow_heif(monkeypatch)
    fill(tmp_path, *both("{}", 20), "cat/a.heic", "cat/b.HEIC", "dog/c.dng", "loose.jpg", "notes.txt", "cat/notes.md")
    images = read_folder(tmp_path)
    assert images.left_out == (
        "4 of 44 photos left out: 2 HEIC photos cannot be read (cat/a.heic, ...), "
        "1 outside the class folders (loose.jpg), 1 RAW photo cannot be read (dog/c.dng). "
        "Save them as JPEG, or install pillow-heif: pip install pillow-heif."
    )
    assert images.warnings == ()  # 2 of 22 is less than a tenth


def test_files_that_are_no_photos_are_not_mentioned(tmp_path):
    images = read_folder(fill(tmp_path, *both("{}"), "cat/notes.txt", "README.md", "cat/.DS_Store"))
    assert (images.left_out, images.warnings, len(images.skipped)) == ("", (), 3)


def test_a_class_that_loses_a_tenth_of_its_photos_is_a_warning(tmp_path):
    fill(tmp_path, *both("train/{}", 9), *both("test/{}", 9), "test/dog/9.psd", "test/dog/10.raw")
    (warning,) = read_folder(tmp_path).warnings
    assert warning == (
        "Classes that lose at least a tenth of their photos: 'dog' in test 2 of 11 "
        "(1 RAW photo cannot be read, 1 Photoshop photo cannot be read)."
    )


def test_a_class_that_vanishes_is_a_warning(tmp_path):
    fill(tmp_path, ".bird/1.jpg", ".bird/2.jpg", content=JPEG)
    (warning,) = read_folder(fill(tmp_path, *both("{}", 3))).warnings
    assert warning == "Classes that lose at least a tenth of their photos: '.bird' in train 2 of 2 (2 hidden)."


def test_many_classes_that_lose_photos_are_one_warning(tmp_path):
    fill(tmp_path, *both("{}", 3, classes="abcdef"), *(f"{label}/x.jxl" for label in "abcde"))
    (warning,) = read_folder(tmp_path).warnings
    assert warning.endswith("'c' in train 1 of 4 (1 JPEG XL photo cannot be read); and 2 more classes.")


def test_a_class_of_photos_that_cannot_be_read_is_an_error_with_the_reason(tmp_path, monkeypatch):
    remove_pillow_heif(monkeypatch)
    with pytest.raises(DataError, match="the class 'cat' has no images in train") as caught:
        read_folder(fill(tmp_path, "cat/1.heic", "cat/2.heic", "dog/3.jpg"))
    assert caught.value.hint.startswith("2 of 2 photos left out: 2 HEIC photos cannot be read (cat/1.heic, ...).")
