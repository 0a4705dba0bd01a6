import io
import os
import shutil

import pytest
from PIL import Image, ImageOps
from scenes import encode, make_scene, photo_seed

from zoo.data.check.examine import check_data, check_images, check_quickly
from zoo.data.check.fix import list_exclusions, write_clean_copy
from zoo.data.sources.folder import read_folder
from zoo.data.sources.table import read_csv
from zoo.errors import DataError


@pytest.fixture
def check(registry):
    return lambda folder, **options: check_data(str(folder), registry=registry, **options)


def kinds(report):
    return [finding.kind for finding in report.findings]


def pairs(report, kind):
    (finding,) = report.of_kind(kind)
    return [(pair.original.name, pair.duplicate.name, pair.exact) for pair in finding.pairs]


def resaved(seed, *, crop=0):
    picture = make_scene(seed)
    picture = picture.crop((crop, crop, picture.width - crop, picture.height - crop)).resize((200, 150))
    return encode(picture, quality=60)


def test_a_fine_set_has_no_findings(fine, check):
    events = []
    report = check(fine(train=20, val=12, test=12), progress=lambda *event: events.append(event))
    assert report.findings == ()
    assert report.worst is None
    assert report.counts["val"] == {"cat": 12, "dog": 12}
    assert ("scan photos", 88, 88) in events
    assert events[-1][0] == "compare photos"


def test_test_photos_in_train_are_a_leak(fine, check):
    report = check(
        fine(
            {
                "train/cat/leak.jpg": photo_seed("test", "cat", 3),
                "train/cat/again.jpg": photo_seed("test", "cat", 3),
                "train/dog/near.jpg": resaved(photo_seed("test", "dog", 4), crop=4),
            }
        )
    )
    (leak,) = report.of_kind("leak")
    assert report.worst == leak.level == "problem"
    assert leak.text.startswith("2 of 20 test photos are also in train (1 identical, 1 nearly identical).")
    assert sorted(pairs(report, "leak")) == [
        ("test/cat/3.jpg", "train/cat/again.jpg", True),
        ("test/cat/3.jpg", "train/cat/leak.jpg", True),
        ("test/dog/4.jpg", "train/dog/near.jpg", False),
    ]
    assert set(kinds(report)) <= {"leak", "tiny-class"}


def test_leaks_are_found_between_the_splits_that_training_would_make(folder, check):
    """With class folders only, the seed decides whether copies end up in one split or in two."""
    files = {
        f"{label}/{number}.jpg": 1_000 * side + number // 2 for side, label in enumerate("ab") for number in range(40)
    }
    root = folder(files)
    report = check(root, seed=1)
    assert set(report.counts) == {"train", "val", "test"}
    found = {
        frozenset(pair[:2])
        for kind in ("leak", "val-leak", "test-val-leak", "duplicates")
        for finding in report.of_kind(kind)
        for pair in [(p.original.name, p.duplicate.name) for p in finding.pairs]
    }
    assert found == {frozenset((f"{label}/{n}.jpg", f"{label}/{n + 1}.jpg")) for label in "ab" for n in range(0, 40, 2)}
    assert report.of_kind("leak")[0].level == "problem"
    assert report.of_kind("val-leak")[0].level == "warning"


def test_a_test_photo_in_a_validation_split_taken_from_train_counts_too(fine, check):
    copies = {f"train/cat/copy{number}.jpg": 10_000 * 2 + number for number in range(10)}
    (leak,) = check(fine(copies, train=20, test=10)).of_kind("leak")
    assert leak.text.startswith("10 of 20 test photos are also in train or val (identical).")
    assert leak.about == "test in train"


def test_test_photos_only_in_validation_are_a_warning(fine, check):
    (alone,) = check(fine({"val/cat/copy.jpg": 20_000}, train=12, test=10, val=10)).of_kind("test-val-leak")
    assert alone.level == "warning"


def test_an_exclusion_list_that_matches_nothing_is_reported(fine, check, tmp_path):
    (tmp_path / "list.csv").write_text("nosuch.jpg\nnor this.jpg\n")
    (finding,) = check(fine(), exclude=tmp_path / "list.csv").findings
    assert finding.text == f"None of the 2 photos listed in {tmp_path / 'list.csv'} is in the data."


def test_one_photo_under_two_labels(fine, check):
    report = check(
        fine(
            {
                "train/dog/x.jpg": photo_seed("train", "cat", 1),
                "train/dog/y.jpg": resaved(photo_seed("train", "cat", 2)),
                "train/dog/z.jpg": photo_seed("train", "dog", 0),
            }
        )
    )
    assert pairs(report, "two-labels") == [("train/cat/1.jpg", "train/dog/x.jpg", True)]
    assert report.of_kind("two-labels")[0].level == "problem"
    assert pairs(report, "near-two-labels") == [("train/cat/2.jpg", "train/dog/y.jpg", False)]
    assert pairs(report, "duplicates") == [("train/dog/0.jpg", "train/dog/z.jpg", True)]
    assert report.of_kind("duplicates")[0].level == "note"


def test_a_mirrored_photo_in_another_class_is_neither_a_leak_nor_a_conflict(fine, check):
    """Left and right arrows are two classes, and each is the other one mirrored."""
    mirrored = {
        f"train/dog/{split}.jpg": encode(ImageOps.mirror(make_scene(photo_seed(split, "cat", 1))))
        for split in ("train", "test")
    }
    report = check(fine(mirrored))
    (finding,) = report.findings
    assert (finding.kind, finding.level) == ("turned-two-labels", "warning")
    assert finding.text == "4 photos in two classes look the same only if one is mirrored or turned."
    assert all(pair.turned and pair.to_dict()["turned"] for pair in finding.pairs)


def test_a_mirrored_photo_in_its_class_is_a_leak(fine, check):
    mirrored = encode(ImageOps.mirror(make_scene(photo_seed("test", "cat", 1))))
    assert pairs(check(fine({"train/cat/copy.jpg": mirrored})), "leak") == [
        ("test/cat/1.jpg", "train/cat/copy.jpg", False)
    ]


def test_near_limits_the_distance_of_near_duplicates(fine, check):
    root = fine({"train/dog/near.jpg": resaved(photo_seed("test", "dog", 4), crop=5)})
    assert "leak" in kinds(check(root))
    assert "leak" not in kinds(check(root, near=0))


def test_a_link_to_another_photo_is_a_copy(fine, check):
    root = fine()
    (root / "train/cat/link.jpg").symlink_to(root / "test/cat/0.jpg")
    assert pairs(check(root), "leak") == [("test/cat/0.jpg", "train/cat/link.jpg", True)]


def test_unreadable_photos_are_reported_with_the_reason(fine, check):
    whole = encode(make_scene(5))
    root = fine(
        {"train/cat/cut.jpg": whole[: len(whole) // 2], "train/cat/page.jpg": b"<html>", "test/dog/none.png": b""}
    )
    (finding,) = check(root).of_kind("unreadable")
    assert finding.level == "problem"
    reasons = {photo.name: reason for photo, reason in finding.photos}
    assert "truncated" in reasons["train/cat/cut.jpg"]
    assert reasons["train/cat/page.jpg"] == "it is a web page, not an image."
    assert reasons["test/dog/none.png"] == "the file is empty."


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_read_permission_is_unreadable(fine, check):
    root = fine()
    (root / "train/cat/0.jpg").chmod(0)
    assert "unreadable" in kinds(check(root))


def test_a_named_pipe_is_skipped(fine, check):
    root = fine()
    os.mkfifo(root / "train/cat/pipe.jpg")
    assert kinds(check(root)) == ["skipped"]


def test_photos_that_are_left_out_are_a_note_and_many_of_a_class_a_warning(fine, check):
    (finding,) = check(fine({"train/cat/a.dng": b"raw"}, train=12)).of_kind("left-out")
    assert (finding.level, finding.text.partition(":")[0]) == ("note", "1 of 25 photos left out")
    texts = [each.text for each in check(fine({f"train/cat/{n}.psd": b"" for n in range(4)})).of_kind("left-out")]
    assert texts[1].startswith("Classes that lose at least a tenth of their photos: 'cat' in train 5 of ")


def test_unusual_files_are_reported_with_their_conversion(fine, check):
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = io.BytesIO()
    make_scene(1).save(frames, "GIF", save_all=True, append_images=[make_scene(2)])
    report = check(
        fine(
            {
                "train/cat/a.jpg": encode(make_scene(40), "PNG"),
                "train/cat/b.jpg": encode(make_scene(41).convert("CMYK")),
                "train/cat/c.jpg": encode(make_scene(42), exif=exif),
                "train/cat/d.gif": frames.getvalue(),
                "train/cat/e.png": encode(make_scene(43, (16, 20)), "PNG"),
                "train/cat/f.jpg": encode(make_scene(44, (400, 40)).convert("L")),
                "train/cat/photo": encode(make_scene(45)),
                "train/cat/notes.txt": b"words",
                "train/cat/.hidden.jpg": b"",
            }
        )
    )
    findings = {finding.about: finding for finding in report.findings}
    assert [(photo.name, reason) for photo, reason in findings["wrong extension"].photos] == [
        ("train/cat/a.jpg", "it is a PNG")
    ]
    assert findings["wrong extension"].level == "warning"
    assert findings["CMYK"].text == "1 photo: converted to sRGB, using the ICC profile if there is one."
    assert findings["rotated by EXIF"].photos[0][0].name == "train/cat/c.jpg"
    assert findings["several frames"].text == "1 photo: only the first frame is used."
    assert findings["tiny photos"].photos[0][1] == "16 x 20"
    assert findings["long photos"].photos[0][1] == "400 x 40"
    assert findings["greyscale"].level == "note"
    skipped, hidden = report.of_kind("skipped")[0], report.of_kind("hidden-photos")[0]
    assert skipped.text == "Skipped files: 1 hidden, 1 not an image, 1 without an image suffix."
    assert hidden.text == "1 photo skipped because of the file name: train/cat/photo."


def test_photos_without_labels_are_counted_once(fine, check):
    report = check(fine({f"unlabeled/{number}.jpg": b"" for number in range(3)}))
    assert [finding.text for finding in report.of_kind("left-out")] == [
        f"3 of {len(report.photos) + 3} photos left out: 3 without labels (unlabeled)."
    ]
    assert report.of_kind("skipped") == []


def test_what_training_refuses_is_a_finding(fine, check):
    root = fine({"test/Dog /1.jpg": 1, "test/bird/1.jpg": 2}, train=14, test=10)
    (root / "train/fish").mkdir()
    report = check(root)
    texts = {finding.text for finding in report.findings if finding.level == "problem"}
    assert "The class 'fish' has no readable photo." in texts
    assert "The class 'bird' is in test, but not in train. Training refuses such data." in texts
    names = (
        "'Dog ' (test) and 'dog' (train, test) differ only in case, spaces or dashes, and count as separate classes."
    )
    assert names in texts
    assert report.of_kind("split")[0].text.startswith("The class 'Dog ' of 'photos' has too few images")


def test_one_class_tiny_classes_and_imbalance(folder, check):
    assert "one-class" in kinds(check(folder({f"train/a/{number}.jpg": number for number in range(60)})))
    root = folder(
        {f"{split}/b/{number}.jpg": 100 * len(split) + number for split in ("train", "val") for number in range(3)}
    )
    found = check(root).findings
    assert "Fewer than 10 photos in train: 'b' has 3." in [finding.text for finding in found]
    (finding,) = check(root).of_kind("imbalance")
    assert (finding.level, finding.text) == ("warning", "'a' has 20 times as many training photos as 'b': 60 and 3.")


def test_data_without_photos(tmp_path, check):
    with pytest.raises(DataError, match="no images and no class folders"):
        check(tmp_path)
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog").mkdir()
    report = check(tmp_path)
    assert {"empty", "empty-class"} <= set(kinds(report))
    assert report.to_dict()["photos"] == 0


def test_a_table_with_missing_files(fine, check):
    root = fine(train=12, test=10)
    table = root / "photos.csv"
    rows = [
        f"{split}/{label}/{n}.jpg,{label},{split}"
        for split, count in (("train", 12), ("test", 10))
        for label in ("cat", "dog")
        for n in range(count)
    ]
    table.write_text("\n".join([*rows, "train/cat/gone.jpg,cat,train"]))
    (finding,) = check(table).of_kind("unreadable")
    assert finding.photos[0][1] == "cannot be read (No such file or directory)."


def test_photos_in_memory_can_be_checked(check, plugin):
    report = check("colours")
    assert report.name == "colours"
    assert not report.of_kind("extension", "unreadable", "leak")


def test_the_quick_check_finds_leaks_and_conflicting_labels(fine, monkeypatch):
    root = fine(
        {
            "train/cat/leak.jpg": photo_seed("test", "cat", 3),
            "train/dog/near.jpg": resaved(photo_seed("test", "dog", 4)),
            "train/dog/x.jpg": photo_seed("train", "cat", 1),
            "train/cat/wrong.jpg": encode(make_scene(40), "PNG"),
            "train/cat/long.jpg": encode(make_scene(44, (400, 40))),
        }
    )
    report = check_quickly(read_folder(root))
    assert report.near
    assert report.of_kind("leak")[0].text.startswith("2 of 20 test photos")
    assert set(kinds(report)) == {"leak", "two-labels", "extension"}
    monkeypatch.setattr("zoo.data.check.examine._QUICK_BYTES", 1_000)
    report = check_quickly(read_folder(root))
    assert not report.near
    assert report.of_kind("leak")[0].text.startswith("1 of 20 test photos is also in train (identical).")
    assert set(kinds(report)) == {"leak", "two-labels", "extension"}


def test_the_check_changes_no_file(fine, check):
    root = fine({"train/cat/leak.jpg": photo_seed("test", "cat", 3)})
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns, file.stat().st_mode) for file in root.rglob("*.jpg")}
    check(root)
    assert {f: (f.read_bytes(), f.stat().st_mtime_ns, f.stat().st_mode) for f in root.rglob("*.jpg")} == before


def test_real_photos_have_two_near_duplicates_and_no_leak(registry):
    where = os.environ.get("ZOO_TEST_DATA")
    if not where:
        pytest.skip("ZOO_TEST_DATA does not name the folder of real photos")
    report = check_data(f"{where}/hotdog", registry=registry)
    assert report.worst == "note"
    assert {frozenset((a, b)) for a, b, _ in pairs(report, "duplicates")} == {
        frozenset(("train/hotdog/imagenet_chili-dog_7960.jpg", "train/hotdog/imagenet_chili-dog_8699.jpg")),
        frozenset(("train/not-hotdog/imagenet_pets_58.jpg", "train/not-hotdog/imagenet_pets_740.jpg")),
    }


def test_ctrl_c_stops_the_check(fine):
    images = read_folder(fine())

    def stop(what, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_images(images, progress=stop)
    shutil.rmtree(fine())


@pytest.fixture
def reef(folder, tmp_path):
    """Returns a function that writes a table of photos with several labels and returns its path."""

    def write(sets, more=None):
        files = {f"{number}.jpg": 500 + number for number in range(len(sets))}
        root = folder({**files, **(more or {})})
        rows = [f"{name},{labels}" for name, labels in zip(files, sets, strict=True)]
        (root / "reef.csv").write_text("\n".join(["path,split,labels", *rows]))
        return root / "reef.csv"

    return write


def texts(report):
    return {finding.kind: finding.text for finding in report.findings}


def test_photos_with_several_labels_count_for_each(reef, check):
    sets = (
        ["train,fish|ray"] * 12
        + ["train,fish|cod"] * 10
        + ["train,"] * 2
        + ["val,fish|ray|cod"] * 10
        + ["test,fish"] * 11
    )
    report = check(reef(sets))
    assert report.multi_label
    assert report.counts["train"] == {"cod": 10, "fish": 22, "ray": 12}
    assert report.count_table()[-1] == ("no label", [2, 0, 0])
    found = texts(report)
    assert found["no-label"] == "2 photos of 45 without a label: 2 in train."
    assert found["label-pairs"] == (
        "1.83 labels on a training photo. Most often together: 'fish' with 'ray' on 12, 'cod' with 'fish' on 10."
    )
    assert found["label-bound"] == (
        "Labels that never come without another one in train: 'cod' (10) with 'fish', 'ray' (12) with 'fish'."
    )
    assert found["missing-class"] in [
        f"The label '{name}' is in train, but not in test: it is not evaluated there." for name in ("cod", "ray")
    ]
    assert report.to_dict()["multi_label"]


def test_a_label_on_every_training_photo_is_a_warning(reef, check):
    report = check(reef(["train,fish|ray", "train,fish", "val,fish|ray", "test,ray"]))
    assert texts(report)["label-everywhere"].startswith("All training photos have the label 'fish'")


def test_copies_with_different_labels_are_a_problem_and_near_duplicates_a_warning(reef, check):
    more = {"1.jpg": 500, "3.jpg": resaved(502), "5.jpg": 504}
    report = check(reef(["train,fish|ray", "train,fish", "train,ray", "test,", "train,ray|cod", "test,ray|cod"], more))
    assert pairs(report, "two-labels") == [("0.jpg", "1.jpg", True)]
    assert pairs(report, "near-two-labels") == [("3.jpg", "2.jpg", False)]
    assert sorted(pairs(report, "leak")) == [("3.jpg", "2.jpg", False), ("5.jpg", "4.jpg", True)]
    (finding,) = report.of_kind("two-labels")
    assert finding.text == "2 photos with different labels: identical files."
    assert finding.to_dict()["pairs"][0]["original"]["labels"] == ["fish", "ray"]
    assert {each.name: each.reason for each in list_exclusions(report)} == {
        "0.jpg": "two labels",
        "1.jpg": "two labels",
        "2.jpg": "near duplicate in test",
        "4.jpg": "duplicate in test",
    }


def test_a_clean_copy_of_photos_with_several_labels_is_a_table(reef, check, tmp_path):
    table = reef(
        ["train,fish|ray", "train,Fish", "train,fish", "val,fish|ray", "test,", "test,ray"], {"2.jpg": b"no photo"}
    )
    copy = write_clean_copy(check(table), tmp_path / "clean")
    assert sorted(path.relative_to(copy).as_posix() for path in copy.rglob("*.*")) == [
        "labels.csv",
        "test/4.jpg",
        "test/5.jpg",
        "train/0.jpg",
        "train/1.jpg",
        "val/3.jpg",
    ]
    images = read_csv(copy / "labels.csv")
    assert (images.multi_label, images.classes) == (True, ("fish", "ray"))
    assert [sample.labels for sample in (*images.train, *images.val, *images.test)] == [(0, 1), (0,), (0, 1), (), (1,)]


def test_the_quick_check_leaves_out_what_only_describes_the_labels(reef):
    images = read_csv(reef(["train,fish|ray", "train,fish", "train,", "val,fish|ray", "test,ray"]))
    assert not {"no-label", "label-pairs", "label-bound"} & set(kinds(check_quickly(images)))


def test_look_alikes_across_a_random_split_suggest_groups_unless_the_data_has_some(folder, check, tmp_path):
    """Each of ten scenes in a class was photographed four times."""
    root = folder(
        {
            f"{label}/{scene}-{shot}.jpg": resaved(100 * side + scene, crop=shot)
            for side, label in enumerate("ab")
            for scene in range(10)
            for shot in range(4)
        }
    )
    (finding,) = check(root).of_kind("missing-groups")
    assert finding.level == "warning"
    assert finding.text.startswith("16 of 16 test photos and 6 of 6 validation photos look nearly like training photos")
    assert "--groups" in finding.text
    table = tmp_path / "groups.csv"
    rows = [path.relative_to(root).as_posix() for path in sorted(root.glob("*/*.jpg"))]
    table.write_text("".join(f"{row},{row.partition('-')[0]}\n" for row in rows))
    report = check(root, groups=table)
    assert not report.of_kind("missing-groups", "leak", "val-leak", "group-leak")
    assert "in whole groups" in report.note


def test_a_few_look_alikes_suggest_no_groups(folder, check):
    files = {f"{label}/{number}.jpg": 100 * side + number for side, label in enumerate("ab") for number in range(40)}
    root = folder(files | {"a/again.jpg": resaved(0, crop=2)})
    assert not check(root).of_kind("missing-groups")
