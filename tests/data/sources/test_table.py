import os

import pytest

from zoo.data.sources.table import read_csv
from zoo.errors import DataError

FILES = ("1.jpg", "2.jpg", "sub/3 x.jpg", "4.jpg")


@pytest.fixture
def table(tmp_path):
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"pixels")

    def write(text, *, encoding="utf-8"):
        (tmp_path / "My Table.csv").write_bytes(text.encode(encoding))
        return tmp_path / "My Table.csv"

    return write


def listing(samples, classes):
    return [(sample.name, classes[sample.label]) for sample in samples]


@pytest.mark.parametrize(
    "text",
    [
        "1.jpg,dog\n2.jpg,cat\nsub/3 x.jpg,cat\n",
        "path,label\r\n1.jpg,dog\r\n2.jpg,cat\r\nsub/3 x.jpg,cat",
        "\ufeffLabel,ID,Filename\ndog,7,1.jpg\n\ncat,8,2.jpg\ncat,9,sub/3 x.jpg\n",
        '"1.jpg";"dog"\n"2.jpg";"cat"\nsub/3 x.jpg ; cat\n',
        "1.jpg\tdog\n2.jpg\tcat\nsub/3 x.jpg\tcat\n",
    ],
)
def test_tables_with_and_without_header(table, text):
    images = read_csv(table(text))
    assert images.name == "my-table"
    assert images.classes == ("cat", "dog")
    assert listing(images.train, images.classes) == [("2.jpg", "cat"), ("sub/3 x.jpg", "cat"), ("1.jpg", "dog")]
    assert (images.val, images.test) == ((), ())


def test_a_third_column_is_the_split(table, tmp_path):
    images = read_csv(table("1.jpg,a,train\n2.jpg,b,Training\nsub/3 x.jpg,b,valid\n4.jpg,a,TEST\n"))
    assert [len(split) for split in (images.train, images.val, images.test)] == [2, 1, 1]
    assert images.val[0].label == 1
    assert images.test[0].source == tmp_path / "4.jpg"


def make_rows(header, *rows):
    return "\n".join([header, *(f"{name},{cells}" for name, cells in zip(FILES, rows, strict=False))])


def counts(images):
    return [len(split) for split in (images.train, images.val, images.test)]


@pytest.mark.parametrize(
    ("header", "cells", "expected"),
    [
        ("path,label,is_valid", ("a,False", "b,False", "a,True", "b,True"), [2, 2, 0]),
        ("path,label,is_test", ("a,0", "b,0", "a,1", "b,"), [3, 0, 1]),
        ("path,label,is_train", ("a,yes", "b,yes", "a,no", "b,no"), [2, 0, 2]),
        ("path,label,train,val,test", ("a,1,0,0", "b,1,0,0", "a,0,1,0", "b,0,0,1"), [2, 1, 1]),
        ("path,label,partition", ("a,train", "b,train", "a,val", "b,test"), [2, 1, 1]),
        ("path,label,data set", ("a,train", "b,train", "a,valid", "b,test"), [2, 1, 1]),
        ("path,label,Stage", ("a,Entraînement", "b,Entraînement", "a,Dev", "b,hold-out"), [2, 1, 1]),
        ("path,target,label", ("train,a", "train,b", "test,a", "test,b"), [2, 0, 2]),
        ("path,label,blurry", ("a,True", "b,False", "a,True", "b,False"), [4, 0, 0]),
        ("path,label,dataset", ("a,coco", "b,coco", "a,voc", "b,voc"), [4, 0, 0]),
    ],
)
def test_the_split_is_found_in_columns_of_other_names(table, header, cells, expected):
    images = read_csv(table(make_rows(header, *cells)))
    assert (images.classes, counts(images), images.warnings) == (("a", "b"), expected, ())


@pytest.mark.parametrize("header", ["path,target,label", "path,label,class", "path,label,label_name"])
def test_of_two_columns_that_agree_the_one_with_names_is_the_class(table, header):
    swap = header == "path,label,class"
    cells = [f"{label},{number}" if swap else f"{number},{label}" for number, label in enumerate("abab")]
    cells = [cell.translate(str.maketrans("23", "01")) for cell in cells]
    assert read_csv(table(make_rows(header, *cells))).classes == ("a", "b")


@pytest.mark.parametrize(
    ("header", "cells", "message"),
    [
        (
            "path,target,label",
            ("0,a", "1,a", "0,b", "1,b"),
            "line 3: the columns 'target' and 'label' may each be the class, but disagree",
        ),
        ("path,label,valid", ("a,1", "b,1", "a,0", "b,1"), "column 'valid' may hold the validation split, or whether"),
        ("path,label,split,phase", ("a,train,train", "b,train,test"), "line 3: the columns 'split' and 'phase' name"),
        ("path,label,usage", ("a,Training", "b,Training", "a,PublicTest"), "unknown split 'PublicTest' in the column"),
        ("path,label,source", ("a,train", "b,train", "a,test", "b,extra"), "line 5: unknown split 'extra' in the col"),
        ("path,label,split", ("a,0", "b,1"), "line 2: unknown split '0' in the column 'split'"),
        ("path,label,is_val,is_test", ("a,1,1", "b,0,0"), "line 2: unknown split 'val and test'"),
    ],
)
def test_columns_that_may_be_meant_in_two_ways_are_refused(table, header, cells, message):
    with pytest.raises(DataError, match=message):
        read_csv(table(make_rows(header, *cells)))


@pytest.fixture
def split_paths(tmp_path):
    """Returns the lines of a table whose paths name splits, below a folder that does, too."""
    lines = []
    for name in ("train/a/1.jpg", "train/train/2.jpg", "valid/a/3.jpg", "test/a/4.jpg", "test/train/5.jpg"):
        file = tmp_path / "test" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"pixels")
        lines.append(f"test/{name},{file.parent.name}")
    return lines


@pytest.mark.parametrize("header", ["", "path,label\n"])
def test_paths_that_name_splits_give_the_splits(table, split_paths, header):
    images = read_csv(table(header + "\n".join(split_paths)))
    assert (images.classes, counts(images)) == (("a", "train"), [2, 1, 2])
    assert images.note == "The splits are those of the folders in the paths."
    with pytest.raises(DataError, match="line 6: the path names no split, but other paths do"):
        read_csv(table("\n".join([*split_paths, "1.jpg,a"])))


def test_a_class_may_have_the_name_of_a_split(table, tmp_path):
    for name in ("valid/1.jpg", "invalid/2.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    assert counts(read_csv(table("valid/1.jpg,valid\ninvalid/2.jpg,invalid"))) == [2, 0, 0]


def test_a_column_counts_more_than_paths(table, split_paths):
    images = read_csv(table("\n".join(f"{line},train" for line in split_paths)))
    assert (counts(images), images.note) == ([5, 0, 0], "")


def test_a_wide_table_is_read_in_a_few_passes(table):
    names = ",".join(f"c{number}" for number in range(3_000))
    cells = ",".join(map(str, range(3_000)))
    images = read_csv(table(make_rows(f"path,label,split,{names}", *(f"a,train,{cells}", f"b,train,{cells}"))))
    assert counts(images) == [2, 0, 0]


def test_a_column_of_many_values_holds_no_split(table, tmp_path):
    for number in range(300):
        (tmp_path / f"{number}.png").touch()
    rows = [f"{number}.png,{'ab'[number % 2]},{number}" for number in range(300)]
    assert counts(read_csv(table("\n".join(["path,label,id", *rows])))) == [300, 0, 0]


def test_a_column_of_folds_is_not_read_with_a_warning(table):
    (warning,) = read_csv(table(make_rows("path,label,fold", "a,0", "b,1", "a,2", "b,3"))).warnings
    assert warning.startswith("The column 'fold' is not read: the splits are taken at random.")


def test_test_photos_without_a_label_are_left_out(table):
    images = read_csv(table(make_rows("path,label,split", "a,train", "b,train", ",test", ",test")))
    assert counts(images) == [2, 0, 0]
    assert images.left_out == "2 of 4 photos left out: 2 without labels (sub/3 x.jpg, ...)."


def test_photos_that_cannot_be_read_are_left_out(table, tmp_path):
    (tmp_path / "5.psd").touch()
    images = read_csv(table(make_rows("path,label", "a", "b", "a", "b") + "\n5.psd,a"))
    assert len(images.train) == 4
    assert images.warnings[0].endswith("'a' in train 1 of 3 (1 Photoshop photo cannot be read).")


def test_of_two_columns_of_paths_the_one_with_files_is_read(table):
    images = read_csv(table("filename,file_path,label\n3 x.jpg,sub/3 x.jpg,a\n1.jpg,1.jpg,b\n"))
    assert [sample.name for sample in images.train] == ["sub/3 x.jpg", "1.jpg"]


@pytest.mark.parametrize("cells", [("a,test", "a,test"), ("a,test", "b,test")])
def test_photos_to_evaluate_need_no_training_split(table, cells):
    assert counts(read_csv(table(make_rows("path,label,split", *cells)), known=("a", "b"))) == [0, 0, 2]


def test_photos_to_evaluate_without_splits_are_test_photos_as_those_of_folders(table):
    assert counts(read_csv(table(make_rows("path,label", "a", "a")), known=("a", "b"))) == [0, 0, 2]
    assert counts(read_csv(table("1.jpg,a\n2.jpg,b\n"), known=("a", "b"))) == [0, 0, 2]


def test_one_file_under_two_paths_is_listed_twice(table):
    with pytest.raises(DataError, match="already listed in line 1"):
        read_csv(table("1.jpg,a,train\nsub/../1.jpg,b,test\n"))


def test_absolute_paths_are_allowed(table, tmp_path):
    images = read_csv(table(f"{tmp_path}/1.jpg,a\n2.jpg,b\n"))
    assert [sample.name for sample in images.train] == ["1.jpg", "2.jpg"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no images"),
        ("path,label\n", "lists no images of the split 'train'"),
        ("1.jpg,a\nno.jpg,b\n", r"line 2: there is no file .*no\.jpg"),
        ("1.jpg,a\n2.jpg,\n", "line 2: the label is missing"),
        ("1.jpg,a\n,b\n", "line 2: the path is missing"),
        ("1.jpg,a\n2.jpg\n", "line 2: the label is missing"),
        ("1.jpg,a,train\n2.jpg,b,good\n", "line 2: unknown split 'good'"),
        ("1.jpg,a,val\n2.jpg,b,test\n", "no images of the split 'train'"),
        ("path,label\n1.jpg,a\n2.jpg,b\n1.jpg,b\n", r"line 4: 1\.jpg is already listed in line 2"),
        ("1.jpg,a\n2.jpg,a\n", "needs two classes, but there is only 'a'"),
        ("1.jpg,a,train\n2.jpg,b,train\n4.jpg,c,test\n", "test has the class 'c', which train lacks"),
        ("1.jpg\n2.jpg\n", "line 1 has 1 columns and no header"),
        ("1.jpg,a,train,more\n", "line 1 has 4 columns"),
        ('1.jpg,"a\n', "is not a CSV file"),
        ("sub,a\n2.jpg,b\n", "there is no file"),
        (f"{'x' * 5000}.jpg,a\n2.jpg,b\n", "there is no file"),
        ("1\0.jpg,a\n2.jpg,b\n", "there is no file|is not a CSV file"),
    ],
)
def test_an_invalid_table_is_refused(table, text, message):
    with pytest.raises(DataError, match=message):
        read_csv(table(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label,is_it\n1.jpg,a,no\n", "no column is named path; the header has 'name', 'label', 'is_it'"),
        ("image_id,breed\n1.jpg,a\n", "no column is named path; the header has 'image_id', 'breed'"),
        ("path,breed\n1.jpg,a\n", "no column is named label; the header has 'path', 'breed'"),
        ("a,b,c,d,e\n1.jpg,a,1,2,3\n", "no column is named path; the header has 'a', 'b', 'c', 'd', 'e'"),
        ("1.jpg,a,1,2\n", "has 4 columns and no header names them"),
    ],
)
def test_an_unknown_header_is_refused_with_the_names_of_columns(table, text, message):
    with pytest.raises(DataError, match=message) as caught:
        read_csv(table(text))
    for name in ("path", "filename", "label", "class", "split"):
        assert name in caught.value.hint


def test_class_folders_beside_a_table_do_not_make_its_header_a_photo(table):
    for name in ("cat", "dog"):
        (table("").parent / name).mkdir()
    with pytest.raises(DataError, match="no column is named label; the header has 'path', 'cat', 'dog'"):
        read_csv(table("path,cat,dog\n1.jpg,a,b\n2.jpg,b,a\n"))


def test_backslashes_are_named(table):
    (table("").parent / "cat").mkdir()
    (table("").parent / "cat" / "1.jpg").touch()
    with pytest.raises(DataError, match="line 2: there is no file") as caught:
        read_csv(table("path,label\ncat\\1.jpg,a\n"))
    assert caught.value.hint.startswith("It has backslashes, as on Windows. Separate the parts by slashes: ")


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 46\n", "a Git LFS pointer", "git lfs pull"),
        (b"PK\x03\x04\xff\xff", "a spreadsheet or an archive, not a CSV file", "Save it as CSV in UTF-8."),
        (b"PAR1\xff\xff", "a Parquet file, not a CSV file", "Save it as CSV in UTF-8."),
        ("path,label\n".encode("utf-16"), "UTF-16 text, not UTF-8", "Save it as CSV in UTF-8."),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path, content, message, hint):
    (tmp_path / "photos.csv").write_bytes(content)
    with pytest.raises(DataError, match=f"is {message}") as caught:
        read_csv(tmp_path / "photos.csv")
    assert hint in caught.value.hint


def test_a_file_that_is_not_text_is_refused(table, tmp_path):
    with pytest.raises(DataError, match="is not UTF-8 text"):
        read_csv(table("1.jpg,caf\xe9\n", encoding="latin-1"))
    with pytest.raises(DataError, match="No such file"):
        read_csv(tmp_path / "gone.csv")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
@pytest.mark.timeout(60)
def test_a_named_pipe_as_table_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "photos.csv")
    with pytest.raises(DataError, match="Not a regular file"):
        read_csv(tmp_path / "photos.csv")


def test_a_table_of_more_cells_than_fit_into_memory_is_not_read(table, monkeypatch):
    path = table("1.jpg,dog\n" + "," * 40_000)
    monkeypatch.setattr("zoo.data.sources.table_rows._MAX_CELLS", 30_000)
    monkeypatch.setattr("csv.reader", lambda *args, **kwargs: pytest.fail("It was read."))
    with pytest.raises(DataError, match="has more than 30,000 cells") as caught:
        read_csv(path)
    assert caught.value.hint == "Keep only the columns that are read."
