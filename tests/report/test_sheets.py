import io
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo.errors import ConfigError, DataError
from zoo.plugins.specs import ImageSet, Sample
from zoo.report.sheets import draw_evenly, write_sheet


def pixels(path):
    with Image.open(path) as image:
        return image.convert("RGB")


def a_photo(colour):
    buffer = io.BytesIO()
    Image.new("RGB", (60, 40), colour).save(buffer, "PNG")
    return buffer.getvalue()


def samples(*counts):
    return tuple(
        Sample(source=a_photo("blue"), label=label, name=f"{label}-{index}.png")
        for label, count in enumerate(counts)
        for index in range(count)
    )


def images(*counts, **more):
    classes = tuple(f"class {label}" for label in range(len(counts)))
    return ImageSet(name="things", classes=classes, train=samples(*counts), **more)


@pytest.mark.parametrize(
    ("counts", "count", "expected"),
    [
        ((10, 10), 6, [3, 3]),
        ((10, 1, 10), 6, [3, 1, 2]),
        ((2, 2), 24, [2, 2]),
        ((0, 5), 3, [0, 3]),
        ((1000, 3), 4, [2, 2]),
    ],
)
def test_samples_are_drawn_evenly_over_the_classes(counts, count, expected):
    pool = samples(*counts)
    drawn = draw_evenly(pool, count=count, seed=0)
    assert len(set(drawn)) == len(drawn)
    labels = [pool[index].label for index in drawn]
    assert labels == sorted(labels)
    assert [Counter(labels)[label] for label in range(len(counts))] == expected


def test_with_more_classes_than_places_the_classes_are_drawn_too():
    pool = samples(*[2] * 50)
    labels = {pool[index].label for index in draw_evenly(pool, count=8, seed=0)}
    assert len(labels) == 8
    assert labels != set(range(8))


def test_the_seed_decides():
    pool = samples(50, 50)
    assert draw_evenly(pool, count=8, seed=1) == draw_evenly(pool, count=8, seed=1)
    assert draw_evenly(pool, count=8, seed=1) != draw_evenly(pool, count=8, seed=2)


def test_a_sheet_shows_photos_with_their_labels(tmp_path, written):
    path = tmp_path / "sheet.png"
    assert write_sheet(images(10, 10), path, count=8) == path
    assert written[:2] == ["things: training photos", "8 of 20 photos, 2 classes"]
    assert Counter(written)["class 0"] == Counter(written)["class 1"] == 4
    image = pixels(path)
    blue = sum(count for count, colour in image.getcolors(1 << 20) if colour == (0, 0, 255))
    assert blue == 8 * 224 * 149


def test_a_sheet_shows_the_part_asked_for(tmp_path, written):
    write_sheet(images(1, 1, test=samples(3, 3)), tmp_path / "s.png", part="test", title="My test")
    assert written[:2] == ["My test", "6 of 6 photos, 2 classes"]


@pytest.mark.parametrize(
    ("part", "message"), [("val", "has no photos in its part 'val'"), ("all", "has no part 'all'")]
)
def test_a_part_that_is_not_there_is_told(tmp_path, part, message):
    with pytest.raises(DataError, match=message) as caught:
        write_sheet(images(1, 1), tmp_path / "s.png", part=part)
    assert caught.value.hint == "It has: train."


@pytest.mark.parametrize("count", [0, -1, 401])
def test_a_count_out_of_bounds_is_told(tmp_path, count):
    with pytest.raises(ConfigError, match=f"option 'count' is {count}"):
        write_sheet(images(1, 1), tmp_path / "s.png", count=count)


def test_views_stand_beside_their_photo(tmp_path, written):
    asked = []

    def views(index, sample):
        asked.append((index, sample.name))
        return [np.full((30, 30, 3), value, np.uint8) for value in (10, 20, 30)]

    write_sheet(images(5, 5), tmp_path / "s.png", count=2, views=views)
    assert written[0] == "things: training photos, augmented"
    assert [name for _, name in asked] == [text for text in written if text.endswith(".png")]
    pool = samples(5, 5)
    assert all(pool[index].name == name for index, name in asked)
    image = pixels(tmp_path / "s.png")
    areas = {colour: count for count, colour in image.getcolors(1 << 20)}
    assert [areas[value, value, value] for value in (10, 20, 30)] == [2 * 224 * 224] * 3


def test_a_photo_that_cannot_be_read_has_no_views(tmp_path, written):
    broken = ImageSet(name="x", classes=("a",), train=(Sample(b"no image", 0, "broken"),))
    write_sheet(broken, tmp_path / "s.png", views=lambda index, sample: pytest.fail("was asked"))
    assert "cannot be read" in written


@pytest.mark.skipif("ZOO_TEST_DATA" not in os.environ, reason="ZOO_TEST_DATA, the folder of real photos, is not set")
def test_real_photos(tmp_path):
    root = Path(os.environ["ZOO_TEST_DATA"]) / "hotdog" / "test"
    classes = ("hotdog", "not-hotdog")
    found = tuple(
        Sample(path, label, path.name) for label, name in enumerate(classes) for path in sorted((root / name).iterdir())
    )
    write_sheet(ImageSet(name="hotdog", classes=classes, train=found), tmp_path / "s.png")
    assert np.asarray(pixels(tmp_path / "s.png")).std() > 40
