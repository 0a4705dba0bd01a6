import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from photo_folders import JPEG, both, fill, remove_pillow_heif

from zoo.data.sources import walk as module
from zoo.data.sources.folder import list_photos, read_folder
from zoo.data.sources.walk import PhotoWalk, judge_member
from zoo.errors import DataError
from zoo.runs.cross_validation import FOLDS
from zoo.runs.record import RECORD
from zoo.runs.run import PICTURES
from zoo.runs.tag_history import TAGS

links = pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")


def skipped(root):
    walk = PhotoWalk(root)
    list(walk.photos(root))
    return {file.name: (file.reason, file.photos) for file in walk.skipped}


def write_run(folder):
    fill(folder, *PICTURES, "photos.json")
    (folder / RECORD).write_text(json.dumps({"format": 2, "backbone": "torchvision/resnet18"}))


def test_what_other_programs_write_beside_photos_is_no_photo(tmp_path):
    names = (
        "cat/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg",
        "__MACOSX/cat/._1.jpg",
        "cat/.ipynb_checkpoints/1-checkpoint.jpg",
        "cat/._1.jpg",
        "#recycle/2.jpg",
        "$RECYCLE.BIN/3.jpg",
        ".Trash-1000/files/4.jpg",
        "cat/.thumbnails/5.jpg",
    )
    fill(tmp_path, "cat/1.jpg", *names)
    walk = PhotoWalk(tmp_path)
    assert [walk.name(photo) for photo in walk.photos(tmp_path)] == ["cat/1.jpg"]
    assert {(file.reason, file.photos) for file in walk.skipped} == {("made by another program", 0)}
    assert len(walk.skipped) == len(names)


def test_hidden_photos_count_and_other_hidden_files_do_not(tmp_path):
    fill(tmp_path, "cat/.1.jpg", ".bird/2.jpg", ".bird/3.jpg", content=JPEG)
    fill(tmp_path, "cat/.DS_Store", "cat/.2.jpg", "cat/.IMG_7.jpg.icloud")
    assert skipped(tmp_path) == {
        ".bird": ("hidden", 2),
        "cat/.1.jpg": ("hidden", 1),
        "cat/.2.jpg": ("hidden", 0),  # not the content of a photo
        "cat/.DS_Store": ("hidden", 0),
        "cat/.IMG_7.jpg.icloud": ("not downloaded from iCloud", 1),
    }


def test_photos_are_told_from_other_files(tmp_path, monkeypatch):
    remove_pillow_heif(monkeypatch)
    fill(tmp_path, "1.HEIC", "2.dng", "3.CR2", "4.jxl", "5.psd", "notes.txt", "Thumbs.db", "data")
    fill(tmp_path, "photo", "photo.jpg_large", "disguised.txt", content=JPEG)
    assert skipped(tmp_path) == {
        "1.HEIC": ("HEIC cannot be read", 1),
        "2.dng": ("RAW cannot be read", 1),
        "3.CR2": ("RAW cannot be read", 1),
        "4.jxl": ("JPEG XL cannot be read", 1),
        "5.psd": ("Photoshop cannot be read", 1),
        "Thumbs.db": ("not an image", 0),
        "data": ("not an image", 0),
        "disguised.txt": ("not an image", 0),  # many datasets have a .txt file for each photo: they are not opened
        "notes.txt": ("not an image", 0),
        "photo": ("without an image suffix", 1),
        "photo.jpg_large": ("without an image suffix", 1),
    }


def test_with_pillow_heif_a_heic_photo_is_a_photo(tmp_path):
    pytest.importorskip("pillow_heif")
    assert skipped(fill(tmp_path, "1.HEIC", "2.heif")) == {}


@links
def test_a_link_that_cannot_be_followed_is_named_and_left_out_alone(tmp_path):
    fill(tmp_path, *both("{}", 2))
    (tmp_path / "cat/a.jpg").symlink_to("b.jpg")
    (tmp_path / "cat/b.jpg").symlink_to("a.jpg")
    (tmp_path / "dog/c.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "dog/self").symlink_to(".")
    images = read_folder(tmp_path)
    assert len(images.train) == 4
    assert images.skipped == (
        "cat/a.jpg: a link that leads back to itself",
        "cat/b.jpg: a link that leads back to itself",
        "dog/c.jpg: a broken link",
        "dog/self: a link to a folder",
    )
    assert "2 behind a link that leads back to itself (cat/a.jpg, ...), 1 behind a broken link (dog/c.jpg)." in (
        images.left_out
    )


@links
def test_photos_behind_links_that_lead_outside_are_counted(tmp_path):
    outside = fill(tmp_path / "outside", "1.jpg", "deep/2.jpg", "notes.txt")
    root = fill(tmp_path / "root", *both("{}", 2))
    (root / "bird").symlink_to(outside)
    (root / "cat/out.jpg").symlink_to(outside / "1.jpg")
    (root / "cat/inside").symlink_to(root / "dog")
    assert skipped(root) == {
        "bird": ("a link to a folder", 2),
        "cat/out.jpg": ("a link that points outside the folder", 1),
        "cat/inside": ("a link to a folder", 0),  # its photos are read where they are
    }


@pytest.fixture
def nest(tmp_path, monkeypatch):
    """Makes a photo that is many folders deep; removes it afterwards, which Python's own functions cannot."""
    monkeypatch.chdir(tmp_path)

    def make(name, depth):
        fill(tmp_path, *both("{}", 2))
        os.chdir("cat")
        for _ in range(depth):
            os.mkdir(name)  # noqa: PTH102  relative: the whole path is too long for the system
            os.chdir(name)
        fill(Path(), "deep.jpg")
        os.chdir(tmp_path)

    yield make
    subprocess.run(["rm", "-rf", "cat"], cwd=tmp_path, check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is that of Linux")
def test_a_path_that_is_too_long_is_left_out_alone(tmp_path, nest):
    nest("d" * 200, 21)
    images = read_folder(tmp_path)
    assert len(images.train) == 4
    (entry,) = images.skipped
    assert entry.startswith("cat/dddd")
    assert entry.endswith(": with a path that is too long")
    found = list_photos(tmp_path)
    assert (len(found.photos), found.errors) == (4, [])
    assert "1 with a path that is too long (cat/ddd" in found.left_out
    assert len(found.left_out) < 250


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of other systems is shorter")
def test_a_path_of_a_thousand_folders_is_read(tmp_path, nest):
    nest("d", 1100)
    assert len(read_folder(tmp_path).train) == 5


def test_runs_beside_the_photos_are_no_class(tmp_path):
    fill(tmp_path, *both("{}", 2))
    write_run(tmp_path / "runs/resnet18-linear-1")
    write_run(tmp_path / "runs/resnet18-linear-2")
    fill(tmp_path / "runs", TAGS, "comparison.png", "lessons/pets/cat/1.jpg")
    write_run(tmp_path / "cat/alone")
    images = read_folder(tmp_path)
    assert (images.classes, len(images.train)) == (("cat", "dog"), 4)
    assert images.skipped == ("cat/alone: a folder of runs", "runs: a folder of runs")
    assert images.warnings == ()
    assert len(list_photos(tmp_path).photos) == 4


def test_a_cross_validation_is_no_class(tmp_path):
    fill(tmp_path, *both("{}", 2))
    write_run(tmp_path / "runs/net-2fold-1/fold-1")
    (tmp_path / "runs/net-2fold-1/folds.json").write_text('{"format": 1, "folds": 2}')
    fill(tmp_path, "runs/net-2fold-1/confusion.png")
    assert read_folder(tmp_path).classes == ("cat", "dog")


def test_runs_beside_split_folders_are_no_mixture(tmp_path):
    fill(tmp_path, *both("train/{}", 2), *both("test/{}"))
    write_run(tmp_path / "runs/resnet18-linear-1")
    assert len(read_folder(tmp_path).test) == 2


def test_a_folder_of_photos_with_a_run_in_it_stays_a_class(tmp_path):
    fill(tmp_path, *both("{}", 2), "cat/run.json")
    write_run(tmp_path / "dog/more/run")
    fill(tmp_path, "dog/more/others/1.jpg")
    images = read_folder(tmp_path)
    assert [sample.name for sample in images.train if "more" in sample.name] == ["dog/more/others/1.jpg"]
    assert len(images.train) == 5


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
@pytest.mark.timeout(60)
def test_named_pipes_are_never_opened(tmp_path):
    fill(tmp_path, *both("{}"))
    for name in ("cat/run.json", "cat/.1.jpg", "cat/2.jpg", "cat/photo"):
        os.mkfifo(tmp_path / name)
    assert len(read_folder(tmp_path).train) == 2


@links
def test_folders_that_link_to_each_other_end(tmp_path):
    one, two = fill(tmp_path / "one", *both("{}")), fill(tmp_path / "two", *both("{}"))
    (one / "other").symlink_to(two)
    (two / "other").symlink_to(one)
    assert skipped(one) == {"other": ("a link to a folder", 2)}


def test_the_names_of_runs_are_those_that_runs_have():
    assert ([*module._RUN_RECORDS], module._TAGS) == ([RECORD, FOLDS], TAGS)


def test_a_folder_that_cannot_be_read_stops_training_and_not_a_prediction(tmp_path, monkeypatch):
    fill(tmp_path, *both("{}", 2))
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"dog cannot be read \(Permission denied\)"):
        read_folder(tmp_path)
    found = list_photos(tmp_path)
    assert [photo.name for photo in found.photos] == ["0.jpg", "1.jpg"]
    assert [str(error).partition("\n")[0] for error in found.errors] == [
        f"{tmp_path / 'dog'} cannot be read (Permission denied)."
    ]


@pytest.mark.parametrize(
    ("name", "judged"),
    [
        ("a/red.png", ("", 1)),
        ("../blue.png", ("", 1)),
        ("__MACOSX/a/._red.png", ("made by another program", 0)),
        ("a/@eaDir/red.png", ("made by another program", 0)),
        ("a/.red.png", ("hidden", 1)),
        ("a/red.CR3", ("RAW cannot be read", 1)),
        ("notes.txt", ("not an image", 0)),
    ],
)
def test_members_of_archives_are_judged_by_the_same_rules(name, judged):
    assert judge_member(name) == judged
