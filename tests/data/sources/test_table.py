import os

import pytest

from zoo.data.sources.table import read_csv
from zoo.errors import DataError


@pytest.fixture
def table(tmp_path):
    for name in ("1.jpg", "2.jpg", "sub/3 x.jpg", "4.jpg"):
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
        ("1.jpg,a,train\n2.jpg,b,dev\n", "line 2: unknown split 'dev'"),
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
    monkeypatch.setattr("zoo.data.sources.table._MAX_CELLS", 30_000)
    monkeypatch.setattr("csv.reader", lambda *args, **kwargs: pytest.fail("It was read."))
    with pytest.raises(DataError, match="has more than 30,000 cells") as caught:
        read_csv(path)
    assert caught.value.hint == "Keep only the columns that are read."
