import hashlib

import pytest
from PIL import Image, ImageOps
from scenes import encode, make_scene, photo_seed

from zoo.data.check.examine import check_data
from zoo.data.check.fix import list_exclusions, write_clean_copy
from zoo.data.sources.exclusions import apply_exclusions, write_exclusions
from zoo.data.sources.folder import read_folder
from zoo.errors import DataError


@pytest.fixture
def check(registry):
    return lambda folder, **options: check_data(str(folder), registry=registry, **options)


@pytest.fixture
def messy(fine):
    near = make_scene(photo_seed("test", "dog", 4)).resize((200, 150))
    root = fine(
        {
            "train/cat/leak.jpg": photo_seed("test", "cat", 3),
            "train/dog/near.jpg": encode(near, quality=60),
            "train/dog/two.jpg": photo_seed("train", "cat", 1),
            "train/dog/copy.jpg": photo_seed("train", "dog", 0),
            "train/dog/almost.jpg": encode(make_scene(photo_seed("train", "dog", 7)), quality=30),
            "train/cat/broken.jpg": b"\xff\xd8\xff\xe0 no more",
            "train/cat/wrong.jpg": encode(make_scene(40), "PNG"),
            "train/Cat/more.jpg": 50,
            "train/Cat/3.jpg": 51,
        }
    )
    (root / "train/cat/deep").mkdir()
    (root / "train/cat/deep/3.jpg").write_bytes(encode(make_scene(52)))
    return root


EXCLUDED = {
    "train/cat/leak.jpg": "duplicate in test",
    "train/dog/near.jpg": "near duplicate in test",
    "train/cat/1.jpg": "two labels",
    "train/dog/two.jpg": "two labels",
    "train/dog/copy.jpg": "duplicate in train",
    "train/cat/broken.jpg": "unreadable",
}


def state(root):
    return {
        file: (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns, file.stat().st_ino)
        for file in root.rglob("*")
        if file.is_file()
    }


def test_excluded_photos_and_reasons(messy, check):
    listed = list_exclusions(check(messy))
    assert {each.name: each.reason for each in listed} == EXCLUDED
    assert [each.name for each in listed] == sorted(EXCLUDED)
    assert {each.duplicate_of for each in listed if each.reason == "duplicate in test"} == {"test/cat/3.jpg"}


def test_the_exclusions_are_applied_to_a_dataset(messy, check, tmp_path):
    listed = {each.name: each.reason for each in list_exclusions(check(messy))}
    images = read_folder(messy)
    remaining = apply_exclusions(images, {**listed, "nosuch.jpg": ""})
    assert {s.name for s in images.train} - {s.name for s in remaining.train} == set(EXCLUDED)
    assert remaining.test == images.test
    assert "train/cat/leak.jpg: excluded, duplicate in test" in remaining.skipped
    assert apply_exclusions(images, {}) is images


def test_both_copies_with_two_labels_are_excluded_from_their_splits(fine, check):
    root = fine(
        {
            "train/dog/other.jpg": photo_seed("test", "cat", 3),
            "val/dog/more.jpg": photo_seed("test", "cat", 3),
            "val/cat/other.jpg": photo_seed("train", "dog", 2),
        }
    )
    assert {each.name: each.reason for each in list_exclusions(check(root))} == dict.fromkeys(
        ("test/cat/3.jpg", "train/dog/other.jpg", "val/dog/more.jpg", "val/cat/other.jpg", "train/dog/2.jpg"),
        "two labels",
    )


def resaved(split, label, number, change=lambda scene: scene):
    return encode(change(make_scene(photo_seed(split, label, number))).resize((200, 150)), quality=60)


def test_both_near_copies_with_two_labels_are_excluded_from_their_splits(fine, check):
    root = fine(
        {
            "train/dog/across.jpg": resaved("test", "cat", 3),
            "train/dog/inside.jpg": resaved("train", "cat", 2),
            "val/cat/turned.jpg": resaved("val", "cat", 1, ImageOps.flip),
        }
    )
    listed = {each.name: (each.reason, each.duplicate_of) for each in list_exclusions(check(root))}
    assert listed == {
        "test/cat/3.jpg": ("two labels", "train/dog/across.jpg"),
        "train/dog/across.jpg": ("two labels", "test/cat/3.jpg"),
        "train/cat/2.jpg": ("two labels", "train/dog/inside.jpg"),
        "train/dog/inside.jpg": ("two labels", "train/cat/2.jpg"),
    }


def test_copies_of_a_photo_with_two_labels_are_excluded_whatever_their_label(fine, check):
    root = fine(
        {
            "train/dog/other.jpg": resaved("test", "cat", 3),
            "train/dog/same.jpg": resaved("test", "cat", 3),
            "train/cat/copy.jpg": photo_seed("test", "cat", 3),
            "val/cat/near.jpg": resaved("test", "cat", 3, lambda scene: scene.crop((4, 4, 150, 110))),
            "train/cat/leak.jpg": resaved("test", "cat", 5),
        }
    )
    path = root.parent / "out.csv"
    listed = list_exclusions(check(root))
    names = ("test/cat/3.jpg", "train/dog/other.jpg", "train/dog/same.jpg", "train/cat/copy.jpg", "val/cat/near.jpg")
    reasons = dict.fromkeys(names, "two labels") | {"train/cat/leak.jpg": "near duplicate in test"}
    assert {each.name: each.reason for each in listed} == reasons
    again = check(root, exclude=write_exclusions(path, listed))
    assert not again.of_kind("leak", "val-leak", "two-labels", "near-two-labels")
    assert list_exclusions(again) == []


def test_photos_in_two_classes_that_are_mirrored_stay(fine, check):
    root = fine(
        {
            "train/dog/right.jpg": resaved("train", "cat", 2, ImageOps.mirror),
            "train/dog/across.jpg": resaved("test", "cat", 3, ImageOps.mirror),
            "train/cat/leak.jpg": resaved("test", "cat", 5, ImageOps.mirror),
        }
    )
    assert {each.name: each.reason for each in list_exclusions(check(root))} == {
        "train/cat/leak.jpg": "near duplicate in test"
    }


def test_with_the_exclusions_the_check_passes(messy, check, tmp_path):
    path = write_exclusions(tmp_path / "out.csv", list_exclusions(check(messy)))
    again = check(messy, exclude=path)
    assert not again.of_kind("leak", "two-labels", "unreadable")
    assert list_exclusions(again) == []


def test_a_clean_copy_passes_and_the_originals_are_unchanged(messy, check, tmp_path):
    before = state(messy)
    events = []
    copy = write_clean_copy(check(messy), tmp_path / "new/clean", progress=lambda *event: events.append(event))
    assert state(messy) == before
    report = check(copy)
    assert [finding.kind for finding in report.findings if finding.level != "note"] == []
    assert sorted(report.counts["train"]) == ["cat", "dog"]  # Cat has become cat
    assert sum(map(sum, (counted.values() for counted in report.counts.values()))) == len(before) - len(EXCLUDED)
    assert (copy / "train/cat/wrong.png").is_file()
    assert {file.name for file in (copy / "train/cat").glob("3*")} == {"3.jpg", "3-2.jpg", "3-3.jpg"}
    assert events[-1][1] == events[-1][2]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["clean"]
    assert read_folder(copy).classes == ("cat", "dog")


def test_a_clean_copy_keeps_the_splits_of_the_check(folder, check, tmp_path):
    root = folder({f"{label}/{n}.jpg": 100 * side + n for side, label in enumerate("ab") for n in range(20)})
    report = check(root)
    images = read_folder(write_clean_copy(report, tmp_path / "clean"))
    assert (len(images.train), len(images.val), len(images.test)) == (28, 4, 8)


@pytest.mark.parametrize("existing", ["a file", "a full folder"])
def test_a_copy_is_written_into_a_new_folder(fine, check, tmp_path, existing):
    target = tmp_path / "clean"
    if existing == "a file":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / "mine").touch()
    with pytest.raises(DataError, match="is not empty"):
        write_clean_copy(check(fine()), target)
    assert target.is_file() or [path.name for path in target.iterdir()] == ["mine"]


def test_a_failed_copy_leaves_nothing(fine, check, tmp_path):
    root = fine()
    report = check(root)
    (root / "train/dog/13.jpg").unlink()
    with pytest.raises(DataError, match="cannot be written: No such file"):
        write_clean_copy(report, tmp_path / "clean")
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.parametrize("label", ["../../evil", "..", ".git", "a/b"])
def test_a_class_name_cannot_point_outside_the_copy(fine, check, tmp_path, label):
    root = fine(train=4)
    table = root / "photos.csv"
    table.write_text(
        "\n".join(f"train/{k}/{n}.jpg,{label if k == 'cat' else k}" for k in ("cat", "dog") for n in range(4))
    )
    report = check(table)
    with pytest.raises(DataError, match="cannot be the name of a folder"):
        write_clean_copy(report, tmp_path / "clean")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_bytes_are_copied_too(check, tmp_path):
    copy = write_clean_copy(check("colours"), tmp_path / "clean")
    with Image.open(copy / "train/red/0.png") as photo:
        assert photo.format == "PNG"
