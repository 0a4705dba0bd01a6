"""Tests of the Batch tab: archives, summary and CSV file."""

from __future__ import annotations

import asyncio
import csv
import zipfile
from pathlib import Path

import pytest
from redness import Redness, make_png

from zoo.errors import ImageError
from zoo_demo.models.served_model import ServedModel
from zoo_demo.tabs import batch


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/red.png", make_png("red"))
        file.writestr("../blue.png", make_png("blue"))
        file.writestr("broken.jpg", b"nonsense")
        file.writestr("notes.txt", "no photo")
        file.writestr("__MACOSX/a/._red.png", b"what macOS adds")
    return path


def test_archives_are_read_in_place(archive: Path, tmp_path: Path) -> None:
    single = tmp_path / "single.png"
    single.write_bytes(make_png("red"))

    photos = list(batch._find_photos([str(archive), str(single)]))
    outcomes = asyncio.run(batch._classify(ServedModel("redness", Redness()), photos))

    assert [photo.name for photo in photos] == [
        "photos.zip/../blue.png",
        "photos.zip/a/red.png",
        "photos.zip/broken.jpg",
        "single.png",
    ]
    labels = [None if isinstance(each, ImageError) else each.label for each in outcomes]
    assert labels == ["other", "red", None, "red"]
    assert sorted(tmp_path.iterdir()) == [archive, single]
    assert batch._summarize(outcomes) == "4 photos: **2** red, **1** other, **1** unreadable."


def test_damaged_members_are_reported_by_name(archive: Path) -> None:
    content = bytearray(archive.read_bytes())
    content[content.index(b"red.png") + 20] ^= 0xFF  # within the compressed photo
    archive.write_bytes(bytes(content))

    photos = list(batch._find_photos([str(archive)]))
    outcomes = asyncio.run(batch._classify(ServedModel("redness", Redness()), photos))

    (failed,) = [each for each, photo in zip(outcomes, photos, strict=True) if "red.png" in photo.name]
    assert isinstance(failed, ImageError)
    assert failed.message.startswith("photos.zip/a/red.png:")


def test_the_csv_contains_every_probability_and_every_error(archive: Path) -> None:
    photos = list(batch._find_photos([str(archive)]))
    outcomes = asyncio.run(batch._classify(ServedModel("redness", Redness()), photos))

    file = batch._write_csv([photo.name for photo in photos], outcomes, ("red", "other"))

    with Path(file).open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["label"] for row in rows] == ["other", "red", ""]
    assert rows[1]["red"] == "1.000000"
    assert "not an image" in rows[2]["error"]


def test_no_cell_of_the_csv_is_a_formula() -> None:
    error = ImageError("=cmd|x.png: it is not an image.", hint="")

    file = batch._write_csv(["=cmd|x.png", "@SUM(A1).png", "-1.png"], [error] * 3, ("+a", "b"))

    with Path(file).open(encoding="utf-8", newline="") as stream:
        cells = [cell for row in csv.reader(stream) for cell in row]
    assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))] == []
    assert "'=cmd|x.png" in cells
