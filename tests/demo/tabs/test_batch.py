"""Tests of the Batch tab: predictions, summary and CSV file."""

from __future__ import annotations

import asyncio
import csv
import zipfile
from typing import TYPE_CHECKING

import pytest
from redness import Redness, make_png

from zoo.errors import ImageError
from zoo_demo.models.batcher import BusyError
from zoo_demo.models.served_model import ServedModel
from zoo_demo.tabs import batch
from zoo_demo.tabs.archives import PhotoReader, find_photos
from zoo_demo.tabs.batch import BatchReport

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("blue.png", make_png("blue"))
        file.writestr("broken.jpg", b"nonsense")
        file.writestr("red.png", make_png("red"))
    return path


def classify(archive: Path, model: ServedModel) -> BatchReport:
    photos, _ = find_photos([archive])
    with BatchReport(("red", "other")) as report, PhotoReader() as reader:
        report.add([photo.name for photo in photos], asyncio.run(batch.classify_photos(model, photos, reader)))
    return report


def test_the_table_the_summary_and_the_csv_agree(archive: Path) -> None:
    report = classify(archive, ServedModel("redness", Redness()))

    assert report.summary() == "3 photos: **1** other, **1** red, **1** unreadable."
    assert [row[:2] for row in report.rows][::2] == [["photos.zip/blue.png", "other"], ["photos.zip/red.png", "red"]]
    with report.file.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["label"] for row in rows] == ["other", "", "red"]
    assert rows[2]["red"] == "1.000000"
    assert "not an image" in rows[1]["error"]


def test_a_busy_server_delays_a_batch_and_loses_none_of_it(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "_SECONDS_BETWEEN_TRIES", 0)
    model = ServedModel("redness", Redness())
    submit, refusals = model.batcher.submit, [BusyError(), BusyError()]

    def submit_later(images: object) -> object:
        if refusals:
            raise refusals.pop()
        return submit(images)  # type: ignore[arg-type]

    monkeypatch.setattr(model.batcher, "submit", submit_later)

    assert classify(archive, model).summary() == "3 photos: **1** other, **1** red, **1** unreadable."
    assert refusals == []


def test_the_table_has_the_first_rows_only_and_the_csv_all() -> None:
    error = ImageError("a.png: it is not an image.", hint="")

    with BatchReport(("a", "b")) as report:
        for _ in range(3):
            report.add(["a.png"] * 200, [error] * 200)

    assert len(report.rows) == 500
    assert len(report.file.read_text("utf-8").splitlines()) == 601
    assert report.summary().startswith("600 photos: **600** unreadable. The table shows the first 500;")


def test_photos_for_which_the_model_returns_nan_have_no_class(tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("black.png", make_png("black"))
        file.writestr("red.png", make_png("red"))

    report = classify(path, ServedModel("redness", Redness()))

    assert report.summary() == "2 photos: **1** red, **1** for which the model returned NaN or infinity."
    assert report.rows[0] == ["photos.zip/black.png", "redness returns NaN or infinity.", ""]
    with report.file.open(encoding="utf-8") as stream:
        errors = [row["error"] for row in csv.DictReader(stream)]
    assert errors == ["photos.zip/black.png: redness returns NaN or infinity.", ""]


def test_no_cell_of_the_csv_is_a_formula() -> None:
    error = ImageError("=cmd|x.png: it is not an image.", hint="")

    with BatchReport(("+a", "b")) as report:
        report.add(["=cmd|x.png", "@SUM(A1).png", "-1.png"], [error] * 3)

    with report.file.open(encoding="utf-8", newline="") as stream:
        cells = [cell for row in csv.reader(stream) for cell in row]
    assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))] == []
    assert "'=cmd|x.png" in cells
