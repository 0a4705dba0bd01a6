import numpy as np
import pytest
from fakes import PREPROCESS, encode_png, make_photo, make_samples

from zoo.data.images.decode import preprocess
from zoo.data.loading.pixel_buffer import Shelf
from zoo.data.loading.pixel_file import open_pack
from zoo.data.loading.prepare import RoomForCrops, for_evaluation
from zoo.data.loading.store import PhotoStore
from zoo.errors import DataError, ImageError
from zoo.plugins.specs import Sample

PLENTY = 1 << 24
AS_IT_IS = RoomForCrops(1000)


def a_store(of, *, budget=PLENTY, prepare=AS_IT_IS, workers=2, file=None):
    store = PhotoStore(of, prepare=prepare, workers=workers)
    if store.fill(Shelf(memory=budget, file=file, count=len(store)), ignore):
        store.adopt(open_pack(file, window=1000, threads=1))
    return store


def ignore(done, total):
    pass


def test_photos_are_kept_as_they_were_prepared():
    store = a_store(make_samples("train", 2), prepare=for_evaluation(PREPROCESS))
    assert store.failures == []
    assert store.kept == len(store) == 6
    assert store[4].shape == (16, 16, 3)
    assert store[4].dtype == np.uint8
    unprepared = a_store(make_samples("train", 2))
    np.testing.assert_array_equal(store[4], preprocess(unprepared[4], PREPROCESS))
    assert store.labels().tolist() == [0, 1, 2, 0, 1, 2]
    assert store.labels().dtype == np.int64


def test_what_is_beyond_the_budget_is_decoded_again_with_the_same_pixels():
    whole = a_store(make_samples("train", 4))
    tight = a_store(make_samples("train", 4), budget=4000)
    assert 0 < tight.kept < len(tight) == len(whole) == whole.kept
    assert 0 < tight.nbytes <= 4000
    assert (whole.tier, tight.tier) == ("memory", "memory")
    for index in range(len(whole)):
        np.testing.assert_array_equal(tight[index], whole[index])


def test_without_a_budget_nothing_is_kept():
    store = a_store(make_samples("train", 1), budget=0)
    assert (store.kept, store.nbytes, store.tier) == (0, 0, "off")
    assert store[0].shape == (20, 28, 3)


@pytest.mark.parametrize("budget", [0, 4000])
def test_with_a_file_all_are_kept_there(tmp_path, budget):
    whole = a_store(make_samples("train", 4))
    filed = a_store(make_samples("train", 4), budget=budget, file=tmp_path / "a.pack")
    assert (filed.kept, filed.tier, filed.nbytes) == (len(whole), "disk", whole.nbytes)
    np.testing.assert_array_equal(filed.sizes, whole.sizes)
    for index in range(len(whole)):
        np.testing.assert_array_equal(filed[index], whole[index])


def test_released_photos_are_decoded_again():
    store = a_store(make_samples("train", 1))
    before = [store[i].copy() for i in range(3)]
    store.release()
    assert (store.kept, store.tier) == (0, "off")
    for index in range(3):
        np.testing.assert_array_equal(store[index], before[index])


@pytest.mark.parametrize("file", [None, "a.pack"])
def test_unreadable_photos_are_dropped_by_name_and_the_others_keep_their_order(tmp_path, file):
    good = make_samples("train", 2)
    bad = [Sample(b"no photo", 1, "bad/one.jpg"), Sample(encode_png(make_photo(0, 0))[:60], 2, "bad/two.png")]
    mixed = [good[0], bad[0], *good[1:3], bad[1], *good[3:]]
    store = a_store(mixed, budget=3000, file=file and tmp_path / file)
    assert store.tier == ("disk" if file else "memory")
    assert all(isinstance(failure, ImageError) for failure in store.failures)
    assert [failure.message.partition(":")[0] for failure in store.failures] == ["bad/one.jpg", "bad/two.png"]
    assert store.samples == list(good)
    assert store.labels().tolist() == [0, 1, 2, 0, 1, 2]
    for index, photo_alone in enumerate(good):
        np.testing.assert_array_equal(store[index], a_store([photo_alone])[0])


def test_when_no_photo_is_readable_the_first_reason_is_told():
    with pytest.raises(DataError, match=r"None of 2 photos is readable; the first: empty\.png: the file is empty"):
        a_store([Sample(b"", 0, "empty.png"), Sample(b"<html>", 1, "page.png")])


def test_no_photos_are_no_error():
    store = a_store([])
    assert store.failures == []
    assert len(store) == 0


def test_a_photo_that_vanishes_later_is_told_when_it_is_asked_for(tmp_path):
    path = tmp_path / "gone.png"
    path.write_bytes(encode_png(make_photo(0, 0)))
    store = a_store([Sample(path, 0, "gone.png")], budget=0)
    path.unlink()
    with pytest.raises(ImageError, match=r"gone\.png: cannot be read"):
        store[0]


def test_progress_counts_every_photo():
    told = []
    store = PhotoStore(make_samples("train", 10), prepare=AS_IT_IS, workers=1)
    store.fill(Shelf(memory=PLENTY, file=None, count=30), lambda done, total: told.append((done, total)))
    assert told == [(16, 30), (30, 30)]


def test_decoding_that_is_stopped_leaves_no_file(tmp_path):
    store = PhotoStore(make_samples("train", 10), prepare=AS_IT_IS, workers=1)

    def stop(done, total):
        if done > 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.fill(Shelf(memory=0, file=tmp_path / "a.pack", count=30), stop)
    assert list(tmp_path.iterdir()) == []
