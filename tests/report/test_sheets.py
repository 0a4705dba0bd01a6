import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pictures import count_colours, make_photo, open_rgb, texts_of

from zoo.errors import ConfigError, DataError
from zoo.plugins.specs import ImageSet, Sample
from zoo.report.sheets import sample_evenly, write_sheet


def make_samples(*counts):
    return tuple(
        Sample(source=make_photo("blue"), label=label, name=f"{label}-{index}.png")
        for label, count in enumerate(counts)
        for index in range(count)
    )


def make_images(*counts, **more):
    classes = tuple(f"class {label}" for label in range(len(counts)))
    return ImageSet(name="things", classes=classes, train=make_samples(*counts), **more)


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
def test_sample_evenly_spreads_over_the_classes(counts, count, expected):
    samples = make_samples(*counts)
    selected = sample_evenly(samples, count=count, seed=0)
    assert len(set(selected)) == len(selected)
    labels = [samples[index].label for index in selected]
    assert labels == sorted(labels)
    assert [Counter(labels)[label] for label in range(len(counts))] == expected


def test_sample_evenly_selects_classes_at_random_if_there_are_too_many():
    samples = make_samples(*[2] * 50)
    labels = {samples[index].label for index in sample_evenly(samples, count=8, seed=0)}
    assert len(labels) == 8
    assert labels != set(range(8))


def test_sample_evenly_depends_on_its_seed_alone():
    samples = make_samples(50, 50)
    assert sample_evenly(samples, count=8, seed=1) == sample_evenly(samples, count=8, seed=1)
    assert sample_evenly(samples, count=8, seed=1) != sample_evenly(samples, count=8, seed=2)


@pytest.mark.parametrize("inner", ["", "below"])
def test_a_sheet_is_never_written_among_the_photos_of_a_class(tmp_path, inner):
    """It would be one of them in the next training."""
    sources = []
    for label in ("cat", "dog"):
        folder = tmp_path / label / inner
        folder.mkdir(parents=True)
        sources.append(folder / "1.png")
        sources[-1].write_bytes(make_photo("blue"))
    samples = tuple(Sample(source=source, label=label, name=source.name) for label, source in enumerate(sources))
    images = ImageSet(name="things", classes=("cat", "dog"), train=samples)
    with pytest.raises(DataError, match=r"sheet\.png would be among the photos of a class"):
        write_sheet(images, tmp_path / "cat" / "sheet.png")
    assert not (tmp_path / "cat" / "sheet.png").exists()
    assert write_sheet(images, tmp_path / "sheet.png").is_file()


def test_a_sheet_shows_photos_with_their_labels(tmp_path, figures):
    path = tmp_path / "sheet.png"
    assert write_sheet(make_images(10, 10), path, count=8) == path
    texts = texts_of(figures[0])
    assert texts[:2] == ["things: training photos", "8 of 20 photos, 2 classes"]
    assert Counter(texts)["class 0"] == Counter(texts)["class 1"] == 4
    assert count_colours(path)[0, 0, 255] == pytest.approx(8 * 224 * 149, rel=0.01)


def test_a_sheet_shows_one_split(tmp_path, figures):
    write_sheet(make_images(1, 1, test=make_samples(3, 3)), tmp_path / "s.png", split="test", title="My test")
    assert texts_of(figures[0])[:2] == ["My test", "6 of 6 photos, 2 classes"]


@pytest.mark.parametrize(
    ("split", "message"), [("val", "has no photos in its split 'val'"), ("all", "has no split 'all'")]
)
def test_a_missing_split_is_an_error(tmp_path, split, message):
    with pytest.raises(DataError, match=message) as caught:
        write_sheet(make_images(1, 1), tmp_path / "s.png", split=split)
    assert caught.value.hint == "It has: train."


@pytest.mark.parametrize("count", [0, -1, 401])
def test_a_count_out_of_bounds_is_an_error(tmp_path, count):
    with pytest.raises(ConfigError, match=f"option 'count' is {count}"):
        write_sheet(make_images(1, 1), tmp_path / "s.png", count=count)


def test_views_stand_beside_their_photo(tmp_path, figures):
    calls = []

    def views(photos):
        calls.extend((index, sample.name) for index, sample in photos)
        return [[np.full((30, 30, 3), value, np.uint8) for value in (10, 20, 30)] for _ in photos]

    write_sheet(make_images(5, 5), tmp_path / "s.png", count=2, views=views)
    texts = texts_of(figures[0])
    assert texts[0] == "things: training photos, augmented"
    assert [name for _, name in calls] == [text for text in texts if text.endswith(".png")]
    samples = make_samples(5, 5)
    assert all(samples[index].name == name for index, name in calls)
    areas = count_colours(tmp_path / "s.png")
    assert [areas[value, value, value] for value in (10, 20, 30)] == [2 * 224 * 224] * 3


def test_a_photo_that_cannot_be_read_has_no_views(tmp_path, figures):
    broken = ImageSet(name="x", classes=("a",), train=(Sample(b"no image", 0, "broken"),))
    write_sheet(broken, tmp_path / "s.png", views=lambda photos: [pytest.fail("called") for _ in photos])
    assert "unreadable" in texts_of(figures[0])


@pytest.mark.skipif("ZOO_TEST_DATA" not in os.environ, reason="ZOO_TEST_DATA, the folder of real photos, is not set")
def test_real_photos(tmp_path):
    root = Path(os.environ["ZOO_TEST_DATA"]) / "hotdog" / "test"
    classes = ("hotdog", "not-hotdog")
    photos = tuple(
        Sample(path, label, path.name) for label, name in enumerate(classes) for path in sorted((root / name).iterdir())
    )
    write_sheet(ImageSet(name="hotdog", classes=classes, train=photos), tmp_path / "s.png")
    assert np.asarray(open_rgb(tmp_path / "s.png")).std() > 40


def test_photos_with_several_labels_are_spread_over_their_sets_and_show_all_labels(tmp_path, figures):
    sets = [(0,)] * 20 + [(0, 1)] * 3 + [()]
    train = tuple(Sample(make_photo("blue"), labels, f"{number}.png") for number, labels in enumerate(sets))
    chosen = [sets[index] for index in sample_evenly(train, count=3, seed=0)]
    assert chosen == [(), (0,), (0, 1)]
    images = ImageSet(name="reef", classes=("fish", "ray"), train=train, multi_label=True)
    write_sheet(images, tmp_path / "sheet.png", count=3)
    assert {"fish", "fish, ray", "no label", "3 of 24 photos, 2 labels"} <= set(texts_of(figures[0]))
