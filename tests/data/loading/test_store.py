import numpy as np
import pytest
from fakes import PREPROCESS, encode_png, make_photo, make_samples

from zoo.data.images.resize import preprocess
from zoo.data.loading.pixel_buffer import PixelBuffer
from zoo.data.loading.pixel_file import open_pixel_file
from zoo.data.loading.store import PhotoStore
from zoo.data.loading.transform import EvalTransform, ShrinkForCrops
from zoo.errors import DataError, ImageError
from zoo.plugins.specs import Sample

PLENTY = 1 << 24
UNCHANGED = ShrinkForCrops(1000)


def make_store(of, *, budget=PLENTY, transform=UNCHANGED, workers=2, file=None):
    store = PhotoStore(of, transform=transform, workers=workers)
    if store.fill(PixelBuffer(memory=budget, file=file, count=len(store)), ignore):
        store.adopt(open_pixel_file(file, window=1000, threads=1))
    return store


def ignore(done, total):
    pass


def test_transformed_photos_are_cached():
    store = make_store(make_samples("train", 2), transform=EvalTransform(PREPROCESS))
    assert store.failures == []
    assert store.cached == len(store) == 6
    assert store[4].shape == (16, 16, 3)
    assert store[4].dtype == np.uint8
    untransformed = make_store(make_samples("train", 2))
    np.testing.assert_array_equal(store[4], preprocess(untransformed[4], PREPROCESS))
    assert store.labels().tolist() == [0, 1, 2, 0, 1, 2]
    assert store.labels().dtype == np.int64


def test_photos_beyond_the_budget_are_decoded_again_with_the_same_pixels():
    whole = make_store(make_samples("train", 4))
    tight = make_store(make_samples("train", 4), budget=4000)
    assert 0 < tight.cached < len(tight) == len(whole) == whole.cached
    assert 0 < tight.nbytes <= 4000
    assert (whole.tier, tight.tier) == ("memory", "memory")
    for index in range(len(whole)):
        np.testing.assert_array_equal(tight[index], whole[index])


def test_without_a_budget_nothing_is_cached():
    store = make_store(make_samples("train", 1), budget=0)
    assert (store.cached, store.nbytes, store.tier) == (0, 0, "off")
    assert store[0].shape == (20, 28, 3)


@pytest.mark.parametrize("budget", [0, 4000])
def test_with_a_file_all_photos_are_cached_there(tmp_path, budget):
    whole = make_store(make_samples("train", 4))
    filed = make_store(make_samples("train", 4), budget=budget, file=tmp_path / "a.pack")
    assert (filed.cached, filed.tier, filed.nbytes) == (len(whole), "disk", whole.nbytes)
    np.testing.assert_array_equal(filed.sizes, whole.sizes)
    for index in range(len(whole)):
        np.testing.assert_array_equal(filed[index], whole[index])


def test_released_photos_are_decoded_again():
    store = make_store(make_samples("train", 1))
    before = [store[i].copy() for i in range(3)]
    store.release()
    assert (store.cached, store.tier) == (0, "off")
    for index in range(3):
        np.testing.assert_array_equal(store[index], before[index])


@pytest.mark.parametrize("file", [None, "a.pack"])
def test_unreadable_photos_are_dropped_and_the_others_keep_their_order(tmp_path, file):
    good = make_samples("train", 2)
    bad = [Sample(b"no photo", 1, "bad/one.jpg"), Sample(encode_png(make_photo(0, 0))[:60], 2, "bad/two.png")]
    mixed = [good[0], bad[0], *good[1:3], bad[1], *good[3:]]
    store = make_store(mixed, budget=3000, file=file and tmp_path / file)
    assert store.tier == ("disk" if file else "memory")
    assert all(isinstance(failure, ImageError) for failure in store.failures)
    assert [failure.message.partition(":")[0] for failure in store.failures] == ["bad/one.jpg", "bad/two.png"]
    assert store.samples == list(good)
    assert store.labels().tolist() == [0, 1, 2, 0, 1, 2]
    for index, alone in enumerate(good):
        np.testing.assert_array_equal(store[index], make_store([alone])[0])


def test_without_a_readable_photo_the_first_reason_is_reported():
    with pytest.raises(DataError, match=r"None of the 2 photos can be read; the first: empty\.png: the file is empty"):
        make_store([Sample(b"", 0, "empty.png"), Sample(b"<html>", 1, "page.png")])


def test_an_empty_split_is_allowed():
    store = make_store([])
    assert store.failures == []
    assert len(store) == 0


def test_a_photo_that_disappears_later_is_an_error_on_access(tmp_path):
    path = tmp_path / "gone.png"
    path.write_bytes(encode_png(make_photo(0, 0)))
    store = make_store([Sample(path, 0, "gone.png")], budget=0)
    path.unlink()
    with pytest.raises(ImageError, match=r"gone\.png: cannot be read"):
        store[0]


def test_progress_counts_every_photo():
    steps = []
    store = PhotoStore(make_samples("train", 10), transform=UNCHANGED, workers=1)
    store.fill(PixelBuffer(memory=PLENTY, file=None, count=30), lambda done, total: steps.append((done, total)))
    assert steps == [(16, 30), (30, 30)]


def test_interrupted_decoding_leaves_no_file(tmp_path):
    store = PhotoStore(make_samples("train", 10), transform=UNCHANGED, workers=1)

    def stop(done, total):
        if done > 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.fill(PixelBuffer(memory=0, file=tmp_path / "a.pack", count=30), stop)
    assert list(tmp_path.iterdir()) == []


def test_labels_of_photos_with_several_are_multi_hot_without_unreadable_photos():
    samples = [
        Sample(b"no image" if number == 1 else encode_png(make_photo(0, number)), labels, f"{number}.png")
        for number, labels in enumerate([(0, 2), (1,), ()])
    ]
    store = PhotoStore(samples, transform=UNCHANGED, workers=1, multi_hot=3)
    store.fill(PixelBuffer(memory=PLENTY, file=None, count=3), ignore)
    assert store.labels().tolist() == [[1, 0, 1], [0, 0, 0]]
    assert store.labels().dtype == np.uint8
