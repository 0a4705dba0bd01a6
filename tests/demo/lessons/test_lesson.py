"""Tests of lessons: class folders on disk, filled from an untrusted page."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from zoo.data.sources.folder import read_folder
from zoo.errors import ConfigError, ImageError
from zoo_demo.lessons import lesson as lesson_module
from zoo_demo.lessons.lesson import list_lessons, open_lesson

if TYPE_CHECKING:
    from pathlib import Path


def jpeg(colour: str, size: tuple[int, int] = (40, 30), exif: Image.Exif | None = None) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "JPEG", **({"exif": exif} if exif else {}))
    return buffer.getvalue()


def test_photos_become_class_folders(tmp_path: Path) -> None:
    lesson = open_lesson(tmp_path, "  cats   and dogs ")
    for label, colour in (("cat", "red"), ("dog", "blue")):
        lesson.add_class(label)
        lesson.add(label, jpeg(colour))
        lesson.add(label, np.zeros((10, 10, 3), np.uint8))

    assert lesson.name == "cats and dogs"
    assert lesson.classes() == {"cat": 2, "dog": 2}
    assert list_lessons(tmp_path) == ["cats and dogs"]
    assert read_folder(lesson.folder).classes == ("cat", "dog")


def test_a_photo_is_stored_once_scaled_down_and_upright(tmp_path: Path) -> None:
    lesson = open_lesson(tmp_path, "a")
    lesson.add_class("x")
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    content = jpeg("red", (3000, 1500), exif)

    first, again = lesson.add("x", content), lesson.add("x", content)

    assert first == again
    assert len(lesson.photos("x")) == 1
    with Image.open(first) as stored:
        assert stored.size == (512, 1024)


@pytest.mark.parametrize("name", [None, "", "  ", "../x", "a/b", ".hidden", "a\0b", "x" * 61, "-rf", "C:\\x"])
def test_names_that_are_missing_or_could_escape_the_folder_are_rejected(tmp_path: Path, name: str | None) -> None:
    with pytest.raises(ConfigError, match="not a valid name for a lesson"):
        open_lesson(tmp_path, name)
    with pytest.raises(ConfigError, match="not a valid name for a class"):
        open_lesson(tmp_path, "good").add_class(name)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_photo_is_rejected_by_name(tmp_path: Path) -> None:
    lesson = open_lesson(tmp_path, "a")
    lesson.add_class("x")

    with pytest.raises(ImageError, match=r"holiday\.jpg: it is not an image"):
        lesson.add("x", b"nonsense", name="holiday.jpg")
    with pytest.raises(ConfigError, match="There is no class 'y'"):
        lesson.add("y", jpeg("red"))
    assert lesson.classes() == {"x": 0}


def test_only_photos_and_classes_of_the_lesson_are_removed(tmp_path: Path) -> None:
    lesson = open_lesson(tmp_path / "lessons", "a")
    lesson.add_class("x")
    photo = lesson.add("x", jpeg("red"))
    elsewhere = tmp_path / "precious.jpg"
    elsewhere.write_bytes(b"1")

    lesson.remove([photo, elsewhere])
    assert lesson.classes() == {"x": 0}
    assert elsewhere.exists()

    lesson.remove_class("x")
    assert lesson.classes() == {}


def test_all_lessons_together_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lesson_module, "_MAX_ALL_PHOTOS", 2)
    monkeypatch.setattr(lesson_module, "_MAX_ALL_CLASSES", 2)
    first, second = open_lesson(tmp_path, "first"), open_lesson(tmp_path, "second")
    for lesson, colour in ((first, "red"), (second, "blue")):
        lesson.add_class("x")
        lesson.add("x", jpeg(colour))

    with pytest.raises(ConfigError, match="All lessons together hold at most 2 photos"):
        second.add("x", jpeg("green"))
    for lesson, label in ((second, "y"), (open_lesson(tmp_path, "third"), "x")):
        with pytest.raises(ConfigError, match="The lessons have 2 classes together"):
            lesson.add_class(label)
    assert list_lessons(tmp_path) == ["first", "second"]
    assert second.add_class("x") == "x"
    first.remove_class("x")
    assert second.add("x", jpeg("green")).exists()
