import numpy as np
import pytest
from fakes import PREPROCESS, photo, png, samples

from zoo.data import store as store_module
from zoo.data.image import preprocess
from zoo.data.store import PhotoStore, default_budget, for_evaluation, with_room_for_crops
from zoo.errors import DataError, ImageError
from zoo.specs import Preprocess, Sample

PLENTY = 1 << 30


def as_it_is(image):
    return image


def a_store(of, *, budget=PLENTY, prepare=as_it_is, workers=2):
    return PhotoStore(of, prepare=prepare, budget=budget, workers=workers)


def ignore(done, total):
    pass


def test_photos_are_kept_as_they_were_prepared():
    store = a_store(samples("train", 2), prepare=for_evaluation(PREPROCESS))
    assert store.fill(ignore) == []
    assert store.kept == len(store) == 6
    assert store[4].shape == (16, 16, 3)
    assert store[4].dtype == np.uint8
    unprepared = a_store(samples("train", 2))
    np.testing.assert_array_equal(store[4], preprocess(unprepared[4], PREPROCESS))
    assert store.labels().tolist() == [0, 1, 2, 0, 1, 2]
    assert store.labels().dtype == np.int64


def test_what_is_beyond_the_budget_is_decoded_again_with_the_same_pixels():
    whole = a_store(samples("train", 4))
    tight = a_store(samples("train", 4), budget=4000)
    for store in (whole, tight):
        store.fill(ignore)
    assert 0 < tight.kept < len(tight) == len(whole) == whole.kept
    assert sum(whole[i].nbytes for i in range(tight.kept)) <= 4000
    for index in range(len(whole)):
        np.testing.assert_array_equal(tight[index], whole[index])


def test_without_a_budget_nothing_is_kept():
    store = a_store(samples("train", 1), budget=0)
    store.fill(ignore)
    assert store.kept == 0
    assert store[0].shape == (20, 28, 3)


def test_unreadable_photos_are_dropped_by_name_and_the_others_keep_their_order():
    good = samples("train", 2)
    bad = [Sample(b"no photo", 1, "bad/one.jpg"), Sample(png(photo(0, 0))[:60], 2, "bad/two.png")]
    store = a_store([good[0], bad[0], *good[1:3], bad[1], *good[3:]])
    failures = store.fill(ignore)
    assert all(isinstance(failure, ImageError) for failure in failures)
    assert [failure.message.partition(":")[0] for failure in failures] == ["bad/one.jpg", "bad/two.png"]
    assert store.samples == list(good)
    assert store.labels().tolist() == [0, 1, 2, 0, 1, 2]
    np.testing.assert_array_equal(store[3], a_store(good)[3])


def test_when_no_photo_is_readable_the_first_reason_is_told():
    store = a_store([Sample(b"", 0, "empty.png"), Sample(b"<html>", 1, "page.png")])
    with pytest.raises(DataError, match=r"None of 2 photos is readable; the first: empty\.png: the file is empty"):
        store.fill(ignore)


def test_no_photos_are_no_error():
    store = a_store([])
    assert store.fill(ignore) == []
    assert len(store) == 0


def test_a_photo_that_vanishes_later_is_told_when_it_is_asked_for(tmp_path):
    path = tmp_path / "gone.png"
    path.write_bytes(png(photo(0, 0)))
    store = a_store([Sample(path, 0, "gone.png")], budget=0)
    store.fill(ignore)
    path.unlink()
    with pytest.raises(ImageError, match=r"gone\.png: cannot be read"):
        store[0]


def test_progress_counts_every_photo():
    told = []
    a_store(samples("train", 10), workers=1).fill(lambda done, total: told.append((done, total)))
    assert told == [(8, 30), (16, 30), (24, 30), (30, 30)]


def test_a_large_photo_is_shrunk_until_its_smallest_crop_is_as_sharp_as_the_input():
    spec = Preprocess(size=(100, 100), resize=110)
    image = photo(0, 0, (400, 600))
    assert with_room_for_crops(spec, crop_scale=0.5)(image).shape == (141, 212, 3)  # 100 / sqrt(0.5)
    assert with_room_for_crops(spec, crop_scale=0.01)(image).shape == (175, 262, 3)  # at most 1.75 times
    assert with_room_for_crops(spec, crop_scale=1.0)(image).shape == (110, 165, 3)  # what evaluation resizes to
    small = photo(0, 0, (120, 90))
    assert with_room_for_crops(spec, crop_scale=0.5)(small) is small


@pytest.mark.parametrize(
    ("meminfo", "limit", "budget"),
    [
        ("MemTotal: 9999 kB\nMemAvailable:    2048 kB\n", None, 1 << 20),
        ("MemTotal: 9999 kB\nMemAvailable:    2048 kB\n", "max\n", 1 << 20),
        ("MemTotal: 9999 kB\nMemAvailable:    2048 kB\n", "1048576\n", 1 << 19),
        (None, None, 2 << 30),
        ("MemTotal: 9999 kB\n", None, 2 << 30),
    ],
)
def test_the_budget_is_half_of_the_memory_to_be_had(tmp_path, monkeypatch, meminfo, limit, budget):
    for name, content in (("_MEMINFO", meminfo), ("_CONTAINER_LIMIT", limit)):
        monkeypatch.setattr(store_module, name, tmp_path / name)
        if content is not None:
            (tmp_path / name).write_text(content)
    assert default_budget() == budget
