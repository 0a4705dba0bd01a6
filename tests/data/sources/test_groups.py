from pathlib import Path

import pytest

import zoo
from zoo.data.sources.groups import apply_groups, find_group_table
from zoo.data.sources.load import load_source
from zoo.data.sources.resolve import resolve_data
from zoo.errors import DataError
from zoo.plugins.registry import Registry
from zoo.plugins.specs import ImageSet, Sample


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder ``photos`` of two classes with three photos each, in the current folder, and a table of them."""
    monkeypatch.chdir(tmp_path)
    rows = []
    for label in "ab":
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "photos" / label / f"{number}.jpg").write_bytes(b"")
            rows.append(f"{label}/{number}.jpg,{label},g{number},{label}{number % 2}")
    Path("photos/table.csv").write_text("\n".join(["path,label,group,Patient ID", *rows]))
    return tmp_path


def load(data, groups):
    source = resolve_data(data, registry=Registry(()), options={})
    table = find_group_table(groups, source)
    return apply_groups(load_source(source), groups, table)


def groups_of(images):
    return {sample.name: sample.group for sample in images.train}


@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize(
    ("groups", "expected"),
    [("auto", ["g0", "g1", "g2"] * 2), ("none", [""] * 6), ("patient_id", ["a0", "a1", "a0", "b0", "b1", "b0"])],
)
def test_a_column_of_the_table_gives_the_groups(groups, expected):
    assert list(groups_of(load("photos/table.csv", groups)).values()) == expected


@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("photos/groups.csv", "path,group\na/0.jpg,x\na/1.jpg,x\na/2.jpg,\nb/0.jpg,y\n./b/1.jpg,y\nb/2.jpg,z\n"),
        (
            "groups.csv",
            "group;file\nx;photos/a/0.jpg\nx;photos/a/1.jpg\ny;photos/b/0.jpg\ny;b/1.jpg\nz;photos\\b\\2.jpg",
        ),
        ("plain.csv", "a/0.jpg,x\na/1.jpg,x\nb/0.jpg,y\nb/1.jpg,y\nb/1.jpg,y\nb/2.jpg,z\n"),
        ("two.csv", "image,patient\na/0.jpg,x\na/1.jpg,x\nb/0.jpg,y\nb/1.jpg,y\nb/2.jpg,z\n"),
    ],
)
@pytest.mark.parametrize("data", ["photos", "photos/table.csv"])
def test_a_manifest_gives_the_groups(data, place, text):
    Path(place).write_text(text)
    images = load(data, place)
    assert list(groups_of(images).values()) == ["x", "x", "", "y", "y", "z"]
    assert images.warnings == (f"1 of 6 photos have no group in {place}: each of them is a group of its own.",)


@pytest.mark.usefixtures("photos")
def test_a_manifest_may_list_files_that_are_not_in_the_data():
    Path("photos/a/notes.txt").write_text("")
    Path("elsewhere.jpg").write_bytes(b"")
    Path("g.csv").write_text("path,group\na/0.jpg,x\na/notes.txt,x\nelsewhere.jpg,q\nb/0.jpg,y\n")
    assert groups_of(load("photos", "g.csv"))["a/0.jpg"] == "x"


@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,group\na/0.jpg,x\na/9.jpg,y\n", "g.csv, line 3: there is no photo 'a/9.jpg' in the data"),
        ("path,group\na/0.jpg,x\n\na/0.jpg,y\n", "g.csv, line 4: a/0.jpg is in the group 'y', but in 'x' in line 2"),
        (
            "path,patient,day\na/0.jpg,x,1\n",
            "g.csv, line 1: no column is named group; the header has 'path', 'patient'",
        ),
        ("name,group\na/0.jpg,x\n", "g.csv, line 1: no column is named path"),
        ("", "g.csv has no lines"),
        (
            "".join(f"{label}/{number}.jpg,x\n" for label in "ab" for number in range(3)),
            "all 6 photos are in the group",
        ),
    ],
)
def test_a_wrong_manifest_is_an_error_with_its_line(text, message):
    Path("g.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        load("photos", "g.csv")


@pytest.mark.usefixtures("photos")
def test_what_is_neither_file_nor_column_is_an_error():
    with pytest.raises(DataError, match=r"There is no file g\.csv of groups") as caught:
        load("photos", "g.csv")
    assert "CSV file of path,group" in caught.value.hint
    with pytest.raises(DataError, match=r"table\.csv has no column 'patent_id'") as caught:
        load("photos/table.csv", "patent_id")
    assert caught.value.hint == "Did you mean Patient ID?"


@pytest.mark.usefixtures("photos")
def test_a_dataset_may_have_groups_itself():
    samples = tuple(Sample(b"x", number % 2, str(number), f"g{number // 4}") for number in range(12))
    images = ImageSet(name="made", classes=("a", "b"), train=samples)
    assert groups_of(load(images, "auto"))["5"] == "g1"
    assert set(groups_of(load(images, "none")).values()) == {""}
    Path("g.csv").write_text("".join(f"{number},h{number % 3}\n" for number in range(12)))
    assert groups_of(load(images, "g.csv"))["5"] == "h2"


def test_a_group_is_text():
    images = ImageSet(name="made", classes=("a", "b"), train=(Sample(b"x", 0, "x", 7),))
    with pytest.raises(DataError, match="x, has the group 7"):
        load(images, "auto")


@pytest.mark.usefixtures("photos")
def test_the_data_check_splits_by_groups_and_reports_given_splits_that_share_them():
    rows = [f"{label}/{number}.jpg,{label},g{number}" for label in "ab" for number in range(3)]
    Path("photos/t.csv").write_text(
        "path,label,group,split\n"
        + "".join(
            f"{row},{split}\n"
            for row, split in zip(rows, ("train", "train", "test", "train", "val", "train"), strict=True)
        )
    )
    report = zoo.check_data("photos/t.csv")
    (leak,) = report.of_kind("group-leak")
    assert leak.level == "problem"
    assert "1 of 1 test photo is of groups that are in train, too (1 group)." in leak.text
    assert [(photo.name, why) for photo, why in leak.photos] == [("a/2.jpg", "group g2")]
    assert report.of_kind("val-group-leak")[0].level == "warning"
    assert not zoo.check_data("photos/table.csv").of_kind("group-leak", "val-group-leak", "missing-groups")
