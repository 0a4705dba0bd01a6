import hashlib

import pytest
from PIL import Image
from scenes import encode, make_scene, photo_seed

from zoo.data.check.examine import check_data
from zoo.data.check.fix import exclusions, write_clean_copy
from zoo.data.sources.exclusions import apply_exclusions, write_exclusions
from zoo.data.sources.folder import read_folder
from zoo.errors import DataError


@pytest.fixture
def check(registry):
    return lambda folder, **how: check_data(str(folder), registry=registry, **how)


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


GONE = {
    "train/cat/leak.jpg": "in test as well",
    "train/dog/near.jpg": "nearly in test as well",
    "train/cat/1.jpg": "two labels",
    "train/dog/two.jpg": "two labels",
    "train/dog/copy.jpg": "twice in train",
    "train/cat/broken.jpg": "unreadable",
}


def state(root):
    return {
        file: (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns, file.stat().st_ino)
        for file in root.rglob("*")
        if file.is_file()
    }


def test_what_is_left_out_and_why(messy, check):
    listed = exclusions(check(messy))
    assert {each.name: each.reason for each in listed} == GONE
    assert [each.name for each in listed] == sorted(GONE)
    assert {each.duplicate_of for each in listed if each.reason == "in test as well"} == {"test/cat/3.jpg"}


def test_what_is_listed_is_left_out_of_a_dataset(messy, check, tmp_path):
    listed = {each.name: each.reason for each in exclusions(check(messy))}
    images = read_folder(messy)
    fewer = apply_exclusions(images, {**listed, "nosuch.jpg": ""})
    assert {s.name for s in images.train} - {s.name for s in fewer.train} == set(GONE)
    assert fewer.test == images.test
    assert "train/cat/leak.jpg: excluded, in test as well" in fewer.skipped
    assert apply_exclusions(images, {}) is images


def test_with_the_list_nothing_of_it_is_found_again(messy, check, tmp_path):
    path = write_exclusions(tmp_path / "out.csv", exclusions(check(messy)))
    again = check(messy, exclude=path)
    assert not again.of_kind("leak", "two-labels", "unreadable")
    assert exclusions(again) == []


def test_a_clean_copy_is_clean_and_the_originals_are_as_they_were(messy, check, tmp_path):
    before = state(messy)
    told = []
    copy = write_clean_copy(check(messy), tmp_path / "new/clean", progress=lambda *event: told.append(event))
    assert state(messy) == before
    report = check(copy)
    assert [finding.kind for finding in report.findings if finding.level != "note"] == []
    assert sorted(report.counts["train"]) == ["cat", "dog"]  # Cat has become cat
    assert sum(map(sum, (counted.values() for counted in report.counts.values()))) == len(before) - len(GONE)
    assert (copy / "train/cat/wrong.png").is_file()
    assert {file.name for file in (copy / "train/cat").glob("3*")} == {"3.jpg", "3-2.jpg", "3-3.jpg"}
    assert told[-1][1] == told[-1][2]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["clean"]
    assert read_folder(copy).classes == ("cat", "dog")


def test_a_clean_copy_keeps_the_parts_that_were_examined(folder, check, tmp_path):
    root = folder({f"{label}/{n}.jpg": 100 * side + n for side, label in enumerate("ab") for n in range(20)})
    report = check(root)
    images = read_folder(write_clean_copy(report, tmp_path / "clean"))
    assert (len(images.train), len(images.val), len(images.test)) == (28, 4, 8)


@pytest.mark.parametrize("there", ["a file", "a full folder"])
def test_a_copy_is_written_into_a_new_folder(fine, check, tmp_path, there):
    target = tmp_path / "clean"
    if there == "a file":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / "mine").touch()
    with pytest.raises(DataError, match="is not empty"):
        write_clean_copy(check(fine()), target)
    assert target.is_file() or [path.name for path in target.iterdir()] == ["mine"]


def test_what_fails_half_way_leaves_nothing(fine, check, tmp_path):
    root = fine()
    report = check(root)
    (root / "train/dog/13.jpg").unlink()
    with pytest.raises(DataError, match="cannot be written: No such file"):
        write_clean_copy(report, tmp_path / "clean")
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.parametrize("label", ["../../evil", "..", ".git", "a/b"])
def test_a_class_cannot_lead_out_of_the_copy(fine, check, tmp_path, label):
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
