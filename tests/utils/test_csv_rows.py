import csv
import errno
import io
import os
from pathlib import Path

import pytest

from zoo.errors import RunError
from zoo.utils.csv_rows import CsvWriter, RowFile, open_rows, quote_formula, unquote_formula

FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "\uff1d1",
    "\uff0b1",
    "\uff0d1",
    "\uff20A1",
    "'=1",
    "''=1",
]
TEXTS = ["", "a.jpg", "'a.jpg", "a=1", "1-2", "0.5", "' a", "./-1.jpg", "热狗"]


@pytest.mark.parametrize("cell", FORMULAS)
def test_a_cell_that_could_be_a_formula_is_quoted(cell):
    assert quote_formula(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", TEXTS)
def test_others_are_not(cell):
    assert quote_formula(cell) == cell


@pytest.mark.parametrize("cell", FORMULAS + TEXTS)
def test_the_text_can_be_read_back(cell):
    assert unquote_formula(quote_formula(cell)) == cell


def test_rows_with_commas_quotes_and_line_breaks_are_read_back():
    text = io.StringIO()
    cells = ['a,"b"', "c\nd", "e\rf", ""]
    CsvWriter(text).write_row(cells)
    assert text.getvalue().endswith("\n")
    assert list(csv.reader(io.StringIO(text.getvalue(), newline=""))) == [cells]


def test_rows_become_the_file_at_the_end(tmp_path):
    target = tmp_path / "out.csv"
    target.write_text("earlier")
    with open_rows(target) as rows:
        rows.write("photo\n")
        rows.write("b\udcff.jpg\n")
        assert target.read_text() == "earlier"
    assert target.read_text() == "photo\nb\\udcff.jpg\n"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(("rows", "kept"), [(["photo\n", "a.jpg\n"], "photo\na.jpg\n"), (["photo\n"], "earlier")])
def test_rows_are_kept_when_it_is_stopped(tmp_path, rows, kept):
    target = tmp_path / "out.csv"
    target.write_text("earlier")
    with pytest.raises(KeyboardInterrupt), open_rows(target) as file:  # noqa: PT012 - the block is what is tested
        for row in rows:
            file.write(row)
        raise KeyboardInterrupt
    assert target.read_text() == kept
    assert list(tmp_path.iterdir()) == [target]


class SmallDisk(io.BytesIO):
    """Has room for 12 bytes."""

    def write(self, content):
        room = 12 - self.tell()
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(content[:room])

    def truncate(self, size=None):
        self.seek(size)
        return super().truncate(size)


def test_on_a_full_disk_whole_rows_remain():
    disk = SmallDisk()
    file = RowFile(disk, name="out.csv")
    file.write("photo\n")
    with pytest.raises(RunError, match=r"Cannot write out\.csv: No space left on device"):
        file.write("a long name.jpg\n")
    assert (disk.getvalue(), file.rows) == (b"photo\n", 1)


@pytest.mark.skipif(os.name != "posix", reason="Windows allows links to administrators only")
def test_a_link_is_followed(tmp_path):
    (tmp_path / "real.csv").touch()
    (tmp_path / "link.csv").symlink_to("real.csv")
    with open_rows(tmp_path / "link.csv") as rows:
        rows.write("photo\n")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text() == "photo\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is always full")  # noqa: PTH110
def test_a_device_is_written_in_place(tmp_path):
    with open_rows(Path(os.devnull)) as rows:
        rows.write("photo\n")
    assert Path(os.devnull).is_char_device()
    with (
        pytest.raises(RunError, match="Cannot write /dev/full: No space left on device"),
        open_rows(Path("/dev/full")) as rows,
    ):
        rows.write("photo\n")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(RunError, match="Cannot write "), open_rows(tmp_path):
        pass
