import dataclasses
import hashlib

import pytest

from zoo.data.sources.fingerprint import find_changed, fingerprint_images, hash_sample
from zoo.errors import ImageError
from zoo.plugins.specs import ImageSet, Sample

IMAGES = ImageSet(
    name="made",
    classes=("a", "b"),
    train=(Sample(b"one", 0, "1"), Sample(b"two", 1, "2")),
    test=(Sample(b"three", 0, "3"),),
)


def fingerprint(images):
    return fingerprint_images(images)[0]


def test_the_fingerprint_never_changes():
    assert fingerprint(IMAGES) == "267082624d179c60b43afb30bc318059cc95f228a183bf0cb93320ac80906012"


def test_order_name_and_note_do_not_matter():
    other = dataclasses.replace(IMAGES, name="other", note="x", skipped=("y",), train=IMAGES.train[::-1])
    assert fingerprint(other) == fingerprint(IMAGES)


def test_a_file_counts_as_its_bytes(tmp_path):
    (tmp_path / "1.png").write_bytes(b"one")
    other = dataclasses.replace(IMAGES, train=(Sample(tmp_path / "1.png", 0, "1"), IMAGES.train[1]))
    assert fingerprint(other) == fingerprint(IMAGES)


@pytest.mark.parametrize(
    "change",
    [
        {"classes": ("a", "c")},
        {"train": (Sample(b"One", 0, "1"), Sample(b"two", 1, "2"))},
        {"train": (Sample(b"one", 1, "1"), Sample(b"two", 1, "2"))},
        {"train": (Sample(b"one", 0, "1x"), Sample(b"two", 1, "2"))},
        {"train": IMAGES.train + IMAGES.test, "test": ()},
        {"test": (), "val": IMAGES.test},
    ],
)
def test_everything_else_matters(change):
    assert fingerprint(dataclasses.replace(IMAGES, **change)) != fingerprint(IMAGES)


def test_each_photo_has_a_short_hash_and_known_digests_are_not_read_again(tmp_path):
    short = fingerprint_images(IMAGES)[1]
    first, second, third = map(hash_sample, (*IMAGES.train, *IMAGES.test))
    assert short == {"train": [first, second], "val": [], "test": [third]}
    missing = dataclasses.replace(IMAGES, train=(Sample(tmp_path / "gone.png", 0, "1"), IMAGES.train[1]))
    known = {"1": hashlib.sha256(b"one").hexdigest()}
    assert fingerprint_images(missing, known=known) == fingerprint_images(IMAGES)


def test_progress_is_reported():
    steps = []
    fingerprint_images(IMAGES, progress=lambda *step: steps.append(step))
    assert steps == [("fingerprint data", done, 3) for done in (1, 2, 3)]


def test_an_unreadable_file_is_named(tmp_path):
    images = dataclasses.replace(IMAGES, train=(Sample(tmp_path / "gone.jpg", 0, "a/gone.jpg"), IMAGES.train[1]))
    with pytest.raises(ImageError, match=r"a/gone\.jpg: cannot be read"):
        fingerprint(images)


def test_every_label_of_a_photo_matters():
    images = dataclasses.replace(
        IMAGES, multi_label=True, train=(Sample(b"one", (0, 1), "1"), Sample(b"two", (), "2")), test=()
    )
    assert fingerprint(images) == "b82d2f9ff17fc6573e16b0a3ce174c97c53d16afe51df284fad17468096416a9"
    assert fingerprint_images(images)[1]["train"] == ["287ef94e", "dde9a309"]
    changed = [Sample(b"one", labels, "1") for labels in ((0, 1), (0,), (1,), (), 0)]
    assert len({hash_sample(sample) for sample in changed}) == len(changed)
    assert find_changed(changed, {"1": hash_sample(changed[0])}) == ["1"] * 4
