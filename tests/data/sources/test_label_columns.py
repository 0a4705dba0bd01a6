"""Tables of photos with several labels."""

import pytest

from zoo.data.sources.label_columns import TableOptions
from zoo.data.sources.table import read_csv
from zoo.errors import DataError
from zoo.plugins.options import make_options

JOINED = "path,split,labels\n1.jpg,train,fish|shark\n2.jpg,train,\n3.jpg,train, ray | fish \n4.jpg,test,shark\n"
FLAGS = "path,fish,ray,shark\n1.jpg,1,0,1\n2.jpg,0,0,0\n3.jpg,1,1,0\n"
LABELS = {"1.jpg": ("fish", "shark"), "2.jpg": (), "3.jpg": ("fish", "ray")}


@pytest.fixture
def table(tmp_path):
    for number in range(1, 7):
        (tmp_path / f"{number}.jpg").write_bytes(b"pixels")

    def write(text, name="photos.csv"):
        (tmp_path / name).write_bytes(text.encode())
        return tmp_path / name

    return write


def labels(images, split="train"):
    return {each.name: tuple(images.classes[label] for label in each.labels) for each in getattr(images, split)}


def read(path, **options):
    return read_csv(path, options=make_options(TableOptions, options, owner="table"))


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (JOINED, {}),
        ("\ufeff" + JOINED.replace("\n", "\r\n"), {}),
        (JOINED.replace("|", ";"), {}),
        (JOINED.replace("labels", "Tags"), {}),
        ("labels;path\nfish|shark;1.jpg\n;2.jpg\nray|fish;3.jpg\n", {}),
        ("path,label\n1.jpg,fish|shark\n2.jpg,\n3.jpg,ray|fish\n", {"multi_label": "yes"}),
        ('path,animals\n1.jpg,"fish, shark"\n2.jpg,\n3.jpg,"ray, fish"\n', {"labels": "animals", "separator": "comma"}),
        ("path,animals\n1.jpg,fish  shark\n2.jpg,\n3.jpg,ray fish\n", {"labels": "Animals", "separator": "space"}),
        ("1.jpg,fish|shark\n2.jpg,\n3.jpg,ray|fish\n", {"multi_label": "yes"}),
        ("path,label\n1.jpg,fish\n2.jpg,\n3.jpg,ray\n1.jpg,shark\n3.jpg,fish\n", {"multi_label": "yes"}),
        (FLAGS, {}),
        (
            "path,is_valid,fish,ray,shark,group,width\n1.jpg,0,1.0,0,True,0,9\n2.jpg,0,0,0,False,1,9\n3.jpg,0,1,1,0,1,8\n",
            {},
        ),
        ("path,fish,blurry,ray,shark\n1.jpg,1,1,0,1\n2.jpg,0,0,0,0\n3.jpg,1,1,1,0\n", {"labels": "fish, ray,shark"}),
    ],
)
def test_three_shapes_of_tables_say_the_same(table, text, options):
    images = read(table(text), **options)
    assert (images.multi_label, images.classes) == (True, ("fish", "ray", "shark"))
    assert labels(images) == LABELS
    assert labels(images, "test") == ({"4.jpg": ("shark",)} if "test" in text else {})
    assert f"1 of {4 if 'test' in text else 3} photos has no label." in images.note
    assert all(isinstance(sample.label, tuple) for sample in images.train)


@pytest.mark.parametrize("name", ["test.csv", "Testing.csv"])
def test_tables_named_for_splits_are_read_together(table, name):
    test = table("path,shark,fish,ray\n4.jpg,1,0,0\n5.jpg,0,0,0\n", name)
    table("path,group\n1.jpg,a\n", "MANIFEST.csv")
    train = table(FLAGS, "train.csv")
    images = read(train)
    assert (labels(images), labels(images, "test")) == (LABELS, {"4.jpg": ("shark",), "5.jpg": ()})
    assert images.note == f"The splits are those of train.csv and {name}. 2 of 5 photos have no label."
    assert images.name == train.parent.name.replace("_", "_").lower().strip("-")[:40]
    alone = read_csv(test, known=images.classes, options=TableOptions(multi_label="yes"))
    assert labels(alone, "test") == labels(images, "test")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,fish,shark\n4.jpg,0,1\n", "has no column 'ray', unlike train.csv, with which it is read"),
        ("path,fish,ray,shark\n1.jpg,0,1,0\n", "line 2: 1.jpg is already listed in .*train.csv, line 2"),
        ("path,labels\n4.jpg,fish\n", "has no column 'fish', unlike train.csv"),
        ("path,fish,ray,shark,split\n4.jpg,0,1,1,test\n", "names splits of its own, but is read as the test split"),
        ("path\n4.jpg\n", "no column is named label"),
    ],
)
def test_a_table_of_test_photos_that_does_not_fit_is_refused(table, text, message):
    table(text, "test.csv")
    with pytest.raises(DataError, match=message):
        read(table(FLAGS, "train.csv"))


def test_a_table_of_one_label_is_read_alone_with_a_warning(table):
    table("path,label\n4.jpg,a\n", "test.csv")
    images = read(table("path,label\n1.jpg,a\n2.jpg,b\n", "train.csv"))
    assert (images.multi_label, images.test) == (False, ())
    assert images.warnings == ("test.csv beside train.csv is not read.",)


def test_columns_of_which_exactly_one_is_1_are_classes(table):
    text = "path,cat,dog\n1.jpg,1,0\n2.jpg,0,1\n3.jpg,1,0\n"
    images = read(table(text))
    assert (images.multi_label, images.classes, [sample.label for sample in images.train]) == (
        False,
        ("cat", "dog"),
        [0, 0, 1],
    )
    assert images.note.startswith("Each photo has exactly one of the 2 labels, which are read as classes")
    assert read(table(text), multi_label="yes").multi_label
    with pytest.raises(DataError, match="line 3: not exactly one of the columns is 1, but none"):
        read(table("path,cat,dog\n1.jpg,1,0\n2.jpg,0,0\n"), multi_label="no")


@pytest.mark.parametrize(
    ("text", "options", "classes"),
    [
        ("path,labels\n1.jpg,fish\n2.jpg,shark\n", {}, ("fish", "shark")),
        ("path,labels\n1.jpg,fish|shark\n2.jpg,shark\n", {"multi_label": "no"}, ("fish|shark", "shark")),
        ("path,breed\n1.jpg,pug\n2.jpg,boxer\n", {"labels": "breed"}, ("boxer", "pug")),
        ("path,tags\n1.jpg,fish\n2.jpg,shark\n", {}, ("fish", "shark")),
    ],
)
def test_one_label_for_each_photo_is_still_one(table, text, options, classes):
    images = read(table(text), **options)
    assert (images.multi_label, images.classes) == (False, classes)


def test_one_label_that_looks_like_several_is_read_with_a_warning(table):
    (warning,) = read(table("path,label\n1.jpg,fish|shark\n2.jpg,shark\n")).warnings
    assert (
        "photos.csv, line 2: 'fish|shark' in the column 'label' may be one label or several; it is read as one"
        in warning
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1.jpg,fish||ray\n2.jpg,ray", "line 2: 'fish||ray' has an empty label"),
        ("1.jpg,fish|ray\n2.jpg,ray|", r"line 3: 'ray\|' has an empty label"),
        ("1.jpg,fish|ray|fish\n", "line 2: 1.jpg has the label 'fish' twice"),
        ("1.jpg,fish|ray|Fish\n", "line 2: 1.jpg has the label 'fish' and 'Fish', two spellings of one"),
        ("1.jpg,fish|ray\n2.jpg,fish;ray\n", r"column 'labels' has '\|' \(line 2\) and ';' \(line 3\)"),
        ("1.jpg,fish|ray\n1.jpg,shark\n", "line 3: 1.jpg is already listed in line 2"),
        ("1.jpg,fish|ray\n9.jpg,shark\n", "line 3: there is no file"),
        ("1.jpg,fish|fisch\n,ray\n", "line 3: the path is missing"),
    ],
)
def test_what_is_wrong_with_joined_labels_is_named_with_its_line(table, text, message):
    with pytest.raises(DataError, match=f"photos.csv.*{message}"):
        read(table("path,labels\n" + text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,split,labels\n1.jpg,train,a|b\n2.jpg,extra,a\n", "line 3: unknown split 'extra' in the column 'split'"),
        ("path,split,labels\n1.jpg,train,a|b\n2.jpg,test,c\n", "line 3: no training photo has the label 'c' of test"),
        ("path,split,labels\n1.jpg,test,a|b\n", "lists no images of the split 'train'"),
        ("path,labels,split\n1.jpg,a|a b,train\n2.jpg,,\n", "line 3: the split is missing"),
        ("path,fish,ray\n1.jpg,1,1\n2.jpg,2,0\n3.jpg,0,1\n4.jpg,0,1\n", "line 3: the column 'fish' is '2', not 0 or 1"),
        ("path,fish,ray\n1.jpg,1,1\n2.jpg,,0\n3.jpg,0,1\n", "line 3: the column 'fish' is empty, not 0 or 1"),
        ("path,fish,ray\n1.jpg,1,1\n2.jpg,1\n3.jpg,0,1\n", "line 3: the column 'ray' is empty, not 0 or 1"),
        ("path,fish,ray\n1.jpg,1,1\n2.jpg,,\n3.jpg,0,1\n", "line 3: the label is missing"),
        ("path,fish,ray,cod\n1.jpg,1,1,0\n2.jpg,1,0,0\n3.jpg,0,1,0\n", "no photo has the label 'cod'"),
        (
            "path,car,bus,train\n1.jpg,1,1,0\n2.jpg,1,0,1\n3.jpg,0,1,0\n",
            "column 'train' may be a label, or hold the split",
        ),
        ("path,fish,fish\n1.jpg,1,1\n2.jpg,1,0\n", "has two columns 'fish'"),
        (
            "path,tags\n1.jpg,haze primary\n2.jpg,clear\n",
            "line 2: 'haze primary' in the column 'tags' may be one label or",
        ),
    ],
)
def test_what_is_wrong_with_columns_is_named(table, text, message):
    with pytest.raises(DataError, match=message) as caught:
        read(table(text))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "1.jpg,a,train\n2.jpg,b,train\n1.jpg,b,test\n",
            "line 4: 1.jpg is in the split 'test', but in 'train' in line 2",
        ),
        ("1.jpg,a,train\n2.jpg,b,train\n1.jpg,a,train\n", "line 4: 1.jpg has the label 'a' twice"),
        (
            "1.jpg,a,train\n2.jpg,b,train\n1.jpg,,train\n",
            "line 4: 1.jpg is also listed in line 2, and one of the two has",
        ),
        ("1.jpg,a,train\n2.jpg,a,train\n", "needs at least two labels, but there is only 'a'"),
    ],
)
def test_rows_of_one_photo_that_contradict_each_other_are_refused(table, rows, message):
    with pytest.raises(DataError, match=message):
        read(table("path,label,split\n" + rows), multi_label="yes")


def test_a_photo_listed_twice_names_the_option_for_several_labels(table):
    with pytest.raises(DataError, match=r"line 3: 1\.jpg is already listed in line 2") as caught:
        read(table("path,label\n1.jpg,a\n1.jpg,b\n"))
    assert "--data-option multi-label=yes" in caught.value.hint


def test_spellings_of_a_label_are_a_warning_with_their_lines(table):
    (warning,) = read(table("path,labels\n1.jpg,Sea star|ray\n2.jpg,ray\n3.jpg,sea-star\n")).warnings
    assert "'Sea star' (" in warning
    assert warning.count("photos.csv, line ") == 2
    assert "line 4) differ only in case, spaces or dashes" in warning


@pytest.mark.parametrize("text", ["path,labels,split\n1.jpg,a|b,train\n2.jpg,,test\n3.jpg,,test\n"])
def test_a_test_split_without_any_label_is_left_out(table, text):
    images = read(table(text))
    assert images.test == ()
    assert images.left_out == "2 of 3 photos left out: 2 without labels (2.jpg, ...)."


def test_photos_that_cannot_be_read_count_for_each_label(table, tmp_path):
    (tmp_path / "8.psd").touch()
    images = read(table("path,labels\n1.jpg,a|b\n2.jpg,a\n8.psd,a|b\n"))
    assert images.left_out.startswith("1 of 3 photos left out: 1 Photoshop photo cannot be read (8.psd)")
    assert "'b' in train 1 of 2" in images.warnings[0]
    with pytest.raises(DataError, match="no photo has the label 'c'") as caught:
        read(table("path,labels\n1.jpg,a|b\n8.psd,c\n"))
    assert "Photoshop" in caught.value.hint


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": "nothing"}, "has no column 'nothing'; the header has 'path', 'labels'"),
        ({"labels": "labels,nothing"}, "has no column 'nothing'"),
    ],
)
def test_columns_that_do_not_exist_are_named(table, options, message):
    with pytest.raises(DataError, match=message):
        read(table("path,labels\n1.jpg,a|b\n"), **options)


def test_data_to_check_may_have_labels_that_training_refuses(table):
    images = read_csv(table("path,labels,split\n1.jpg,a|b,train\n2.jpg,c,test\n9.jpg,b,train\n"), strict=False)
    assert images.classes == ("a", "b", "c")
    assert len(images.train) == 2
