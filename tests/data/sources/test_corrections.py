"""Labels of a file replace those of a dataset: by name, relative or absolute path; wrong lines are refused."""

from pathlib import Path

import pytest

import zoo
from zoo.data.sources.corrections import Correction, correct_labels, read_corrections, write_corrections
from zoo.errors import DataError
from zoo.plugins.specs import ImageSet, Sample


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder ``photos`` of two classes with three photos each, in the current folder."""
    monkeypatch.chdir(tmp_path)
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "photos" / label / f"{number}.jpg").write_bytes(b"")
    return tmp_path


def write(text, name="labels.csv"):
    Path(name).write_text(text, "utf-8")
    return Path(name)


def labels_of(images):
    return {sample.name: images.classes[sample.label] for sample in images.train}


@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("labels.csv", "cat/0.jpg,dog"),
        ("labels.csv", "photos/cat/0.jpg,dog"),
        ("labels.csv", "{root}/photos/cat/0.jpg,dog"),
        ("labels.csv", "label;split;file\ndog;train;./photos/cat/0.jpg"),
        ("photos/labels.csv", "name,label\ncat\\0.jpg,dog"),
        ("labels.csv", "path,class\nphotos/cat/0.jpg,dog\ncat/0.jpg,dog"),
    ],
)
def test_a_line_names_a_photo_and_its_label(photos, place, line):
    file = write(line.format(root=photos), place)
    images = zoo.load_images("photos", labels=file)
    assert labels_of(images)["cat/0.jpg"] == "dog"
    assert sorted(labels_of(images).values()) == ["cat"] * 2 + ["dog"] * 4
    assert images.corrected == 1


@pytest.mark.usefixtures("photos")
def test_a_path_through_a_link_is_found(tmp_path):
    Path("elsewhere").symlink_to("photos")
    file = write(f"{tmp_path}/elsewhere/cat/1.jpg,dog")
    assert labels_of(zoo.load_images("photos", labels=file))["cat/1.jpg"] == "dog"


@pytest.mark.usefixtures("photos")
def test_only_labels_that_change_are_counted():
    file = write("cat/0.jpg,cat\ncat/1.jpg,dog")
    assert zoo.load_images("photos", labels=file).corrected == 1


@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("cat/0.jpg,dgo", "labels.csv, line 1: there is no class 'dgo' in the data", "Did you mean dog?"),
        ("cat/0.jpg,horse", "there is no class 'horse'", "The classes: cat, dog."),
        ("path,label\ncat/O.jpg,dog", "labels.csv, line 2: there is no photo 'cat/O.jpg'", "Did you mean"),
        ("cat/0.jpg,dog\ncat/0.jpg,cat", "line 2: the label of cat/0.jpg is 'cat', but 'dog' in line 1", "Delete one"),
        ("file,comment,x\ncat/0.jpg,dog,1", "line 1: no column is named label", "Each line is path,label"),
        ("", "has no lines", "Each line is path,label"),
        ("cat/0.jpg,dog\ncat/1.jpg,dog\ncat/2.jpg,dog", "leaves the class 'cat'", "Add photos"),
    ],
)
def test_a_wrong_file_is_refused(text, message, hint):
    with pytest.raises(DataError) as raised:
        zoo.load_images("photos", labels=write(text))
    assert message in raised.value.message
    assert hint in raised.value.hint


@pytest.mark.usefixtures("photos")
def test_a_missing_file_is_refused():
    with pytest.raises(DataError, match=r"There is no file .*labels\.csv of corrected labels"):
        zoo.load_images("photos", labels="labels.csv")


def test_photos_with_several_labels_are_corrected(tmp_path):
    images = ImageSet(
        name="sea",
        classes=("fish", "shark"),
        train=(Sample(b"", (0,), "a"), Sample(b"", (1,), "b"), Sample(b"", (0, 1), "c")),
        multi_label=True,
    )
    file = tmp_path / "labels.csv"
    file.write_text("path,labels\na,fish|shark\nb,\nc,fish;shark\n")
    corrected = correct_labels(images, read_corrections(file))
    assert [sample.label for sample in corrected.train] == [(0, 1), (), (0, 1)]
    assert corrected.corrected == 2


def test_what_is_written_is_read_and_replaces_only_files_of_its_kind(tmp_path):
    file = tmp_path / "labels.csv"
    rows = [Correction("=a.jpg", "-dog", "train", "cat", "looks like -dog"), Correction("b,c.jpg", "cat")]
    write_corrections(file, rows)
    images = ImageSet(
        name="pets", classes=("cat", "-dog"), train=tuple(Sample(b"", n % 2, name) for n, name in enumerate("xyz"))
    )
    images = ImageSet(
        name="pets",
        classes=("cat", "-dog"),
        train=(*images.train, Sample(b"", 0, "=a.jpg"), Sample(b"", 1, "b,c.jpg")),
    )
    assert [each.label for each in correct_labels(images, read_corrections(file)).train[-2:]] == [1, 0]
    write_corrections(file, rows[:1])
    file.write_text("something else")
    with pytest.raises(DataError, match="already exists and has no corrections"):
        write_corrections(file, rows)
