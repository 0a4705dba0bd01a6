import os

import pytest

from zoo.data.sources.exclusions import Exclusion, apply_exclusions, read_exclusions, write_exclusions
from zoo.errors import DataError
from zoo.plugins.specs import ImageSet, Sample

IMAGES = ImageSet(
    name="photos",
    classes=("cat", "dog"),
    train=(Sample(b"", 0, "1.jpg"), Sample(b"", 1, "2.jpg"), Sample(b"", 1, "3.jpg")),
    test=(Sample(b"", 0, "4.jpg"),),
    skipped=("notes.txt: not an image",),
)


def test_a_written_list_is_read_back(tmp_path):
    listed = [Exclusion('a/"x",\n.jpg', "train", "a", "two labels", "b.jpg"), Exclusion("ü\r.jpg", reason="unreadable")]
    path = write_exclusions(tmp_path / "out.csv", listed)
    assert read_exclusions(path) == {'a/"x",\n.jpg': "two labels", "ü\r.jpg": "unreadable"}
    write_exclusions(path, listed[:1])
    assert len(read_exclusions(path)) == 1


def test_names_that_a_spreadsheet_would_run_are_quoted_and_read_back(tmp_path):
    names = ["=1+1.jpg", "'=1+1.jpg", "-1/a.jpg", "a.jpg"]
    path = write_exclusions(tmp_path / "out.csv", [Exclusion(name, label="@cat") for name in names])
    assert path.read_text().splitlines()[1] == "'=1+1.jpg,,'@cat,,"
    assert list(read_exclusions(path)) == names


def test_a_list_may_be_written_by_hand(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("\ufeffa/1.jpg\n\na/2.jpg,blurred\n", "utf-8")
    assert read_exclusions(path) == {"a/1.jpg": "", "a/2.jpg": ""}
    with pytest.raises(DataError, match=r"nosuch.csv cannot be read \(No such file"):
        read_exclusions(tmp_path / "nosuch.csv")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read"):
        read_exclusions(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
@pytest.mark.timeout(60)
def test_a_named_pipe_as_list_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "list.csv")
    with pytest.raises(DataError, match="Not a regular file"):
        read_exclusions(tmp_path / "list.csv")


def test_a_list_does_not_replace_another_file(tmp_path):
    path = tmp_path / "photos.csv"
    path.write_text("path,label\n")
    with pytest.raises(DataError, match="already exists and is not an exclusion list"):
        write_exclusions(path, [])
    assert path.read_text() == "path,label\n"


@pytest.mark.parametrize("column", ["split", "part"])
def test_a_list_of_this_and_of_earlier_versions_is_read_and_replaced(tmp_path, column):
    path = tmp_path / "list.csv"
    path.write_text(f"name,{column},class,reason,same as\n1.jpg,train,cat,two labels,2.jpg\n")
    assert read_exclusions(path) == {"1.jpg": "two labels"}
    write_exclusions(path, [])
    assert path.read_text() == "name,split,class,reason,same as\n"


def test_listed_photos_are_removed_and_skipped():
    remaining = apply_exclusions(IMAGES, {"3.jpg": "blurred", "4.jpg": "", "nosuch.jpg": ""})
    assert (remaining.train, remaining.test) == (IMAGES.train[:2], ())
    assert remaining.skipped == ("notes.txt: not an image", "3.jpg: excluded, blurred", "4.jpg: excluded")
    assert apply_exclusions(IMAGES, {"nosuch.jpg": ""}) is IMAGES


def test_a_class_must_have_training_photos_left():
    with pytest.raises(DataError, match="leaves the class 'cat' of 'photos' without training photos"):
        apply_exclusions(IMAGES, {"1.jpg": ""})


def test_the_last_photo_with_a_label_cannot_be_excluded():
    train = (Sample(b"", (0, 1), "1.jpg"), Sample(b"", (0,), "2.jpg"), Sample(b"", (), "3.jpg"))
    images = ImageSet(name="reef", classes=("fish", "ray"), train=train, multi_label=True)
    assert len(apply_exclusions(images, {"2.jpg": "", "3.jpg": ""}).train) == 1
    with pytest.raises(DataError, match="leaves the label 'ray' of 'reef' without training photos"):
        apply_exclusions(images, {"1.jpg": ""})
