"""The report of a run: a page with all that is known, in which nothing of a class or a file name is markup."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from scenes import encode, make_scene

from zoo.data.check.suspect import Suspect
from zoo.errors import DataError
from zoo.metrics.classification import evaluate_predictions
from zoo.metrics.slices import find_slices
from zoo.plugins.specs import Sample, WeightsInfo
from zoo.report.mistakes import find_mistakes
from zoo.report.run_input import ReportInput
from zoo.report.run_page import write_run_page
from zoo.runs.record import DataRecord, RunRecord
from zoo.runs.run import RunFolder

HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>'
COUNT = 40


class Page(HTMLParser):
    """Collects the tags of a page with their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.parts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.parts.append(" ")

    def handle_data(self, data):
        self.parts.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", "".join(self.parts))


def make_content(folder, *, names=("cat", "dog"), file="1.jpg", results=None, **changes):
    folder.mkdir(exist_ok=True)
    record = RunRecord(
        status="finished",
        created="2026-01-02T03:04:05+00:00",
        backbone="torchvision/resnet18",
        head="heads/linear",
        classes=names,
        config={"backbone": "resnet18", "data": "/home/anna/photos", "seed": 7},
        weights="ImageNet-1K",
        packages={"torch": "2.15.0"},
        sources={"zoo": "abc123"},
        data=DataRecord(
            name=names[0],
            counts={"train": 100, "val": 20, "test": COUNT},
            corrected=3,
            check={"findings": [{"kind": "leak", "level": "problem", "text": f"Photos of {names[0]}."}]},
        ),
        results={"test": {"accuracy": 0.75, "interval": [0.6, 0.86], "count": COUNT}} if results is None else results,
    )
    labels = np.arange(COUNT) % 2
    p = np.full((COUNT, 2), 0.1)
    p[np.arange(COUNT), np.where(np.arange(COUNT) < 10, 1 - labels, labels)] = 0.9
    photo = encode(make_scene(1))
    samples = [Sample(photo, int(label), f"{number}-{file}") for number, label in enumerate(labels)]
    slices = find_slices(p.argmax(axis=1) == labels, labels, {"brightness": np.arange(COUNT) / COUNT})
    evaluation = replace(evaluate_predictions(p, labels, names), slices=slices)
    suspect = Suspect(
        rank=1,
        sample=samples[0],
        split="test",
        label=names[0],
        suggested=names[1],
        label_probability=0.02,
        suggested_probability=0.93,
    )
    values = {
        "run": RunFolder(folder, record),
        "evaluation": evaluation,
        "mistakes": find_mistakes(p, samples),
        "suspects": [suspect],
        "weights": WeightsInfo(name="V1", source="https://example.org/weights", licence="BSD-3-Clause"),
        "version": "1.2",
        "written": "2026-01-03",
    }
    return ReportInput(**{**values, **changes})


def write(tmp_path, content):
    return Page(write_run_page(tmp_path / "report.html", content).read_text("utf-8"))


def test_the_page_has_what_is_known(tmp_path):
    text = write(tmp_path, make_content(tmp_path / "run-1")).text
    for part in (
        "accuracy 75.0 %",
        "75.0 % (60.0 % to 86.0 %)",
        "torchvision/resnet18",
        "corrected labels 3",
        "Photos of cat.",
        "10 of 40 test photos are classified wrongly.",
        "looks like dog (0.93) labelled cat (0.02), test",
        "1 of 4 parts of the photos are worse",
        "brightness: lowest (0 to 0.225)",
        "BSD-3-Clause",
        "seed 7",
        "abc123",
        "It answers one of its classes to any picture",
    ):
        assert part in text, part
    assert "/home/anna" not in text


def test_what_was_not_measured_is_said(tmp_path):
    content = make_content(
        tmp_path / "run-1", evaluation=None, mistakes=(), suspects=None, not_evaluated="the photos were not at hand."
    )
    text = write(tmp_path, content).text
    assert text.count("Not measured:") == 6
    assert "run 'zoo stress run-1'" in text
    assert "run 'zoo report run-1 --suspects'" in text
    assert "the photos were not at hand." in text


def test_measured_sections_replace_that(tmp_path):
    folder = tmp_path / "run-1"
    folder.mkdir()
    Image.new("RGB", (4, 4)).save(folder / "curves.png")
    strengths = [{"strength": n, "accuracy": 0.9 - n / 10} for n in range(1, 6)]
    kinds = [{"name": "jpeg", "strengths": strengths, "mean": {"accuracy": 0.6}}]
    model = {"name": "run-1", "count": 40, "clean": {"accuracy": 0.75}, "mean": {"accuracy": 0.6}, "kinds": kinds}
    reliability = {
        "calibrated": {"calibration_error": 0.0123, "brier": 0.2, "loss": 0.4},
        "uncalibrated": {"calibration_error": 0.0987, "brier": 0.25, "loss": 0.5},
        "sets": [{"promised": 0.9, "measured": 0.875, "interval": [0.8, 0.9], "size": 1.25}],
    }
    results = {"test": {"accuracy": 0.75, "interval": [0.6, 0.86], "count": COUNT, "reliability": reliability}}
    page = write(tmp_path, make_content(folder, results=results, stress={"models": [model]}))
    for part in ("0.0123", "0.0987", "0.875 1.25", "jpeg 80.0 %", "is 75.0 % on 40 unchanged photos, and 60.0 %"):
        assert part in page.text, part
    assert sum(attrs.get("src", "").startswith("data:image/png;base64,") for _, attrs in page.tags) == 1


def test_the_page_asks_for_nothing_and_runs_nothing(tmp_path):
    page = write(tmp_path, make_content(tmp_path / "run-1"))
    policy = next(attrs["content"] for tag, attrs in page.tags if "http-equiv" in attrs)
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object"}
    assert all(attrs["src"].startswith("data:image/") for tag, attrs in page.tags if tag == "img")
    anchors = {attrs["href"] for tag, attrs in page.tags if tag == "a"}
    assert anchors == {f"#{attrs['id']}" for tag, attrs in page.tags if tag == "section"}
    styles = (tmp_path / "report.html").read_text("utf-8")
    assert "@media print" in styles
    assert "prefers-color-scheme: dark" in styles
    assert not re.search(r"url\(|@import", styles)


def test_hostile_names_stay_text(tmp_path):
    names = (HOSTILE, "\u202e\x1b[31mdog")
    content = make_content(tmp_path / "run-1", names=names, file=HOSTILE + ".jpg", not_evaluated=HOSTILE)
    page = write(tmp_path, content)
    assert not {tag for tag, _ in page.tags} & {"script", "iframe", "object", "svg", "link"}
    assert not [key for _, attrs in page.tags for key in attrs if key.startswith("on")]
    assert all(attrs["src"].startswith("data:image/") for tag, attrs in page.tags if tag == "img")
    assert HOSTILE in page.text
    assert "\x1b" not in page.text


@pytest.mark.parametrize("stress", [{}, {"models": None}, {"models": [{"kinds": [{}], "clean": 3}]}, {"models": [3]}])
def test_files_of_other_programs_do_no_harm(tmp_path, stress):
    results = {"test": {"accuracy": 0.5, "reliability": {"sets": [3], "calibrated": {"loss": "x"}}}}
    assert (
        "Under changed conditions" in write(tmp_path, make_content(tmp_path / "r", stress=stress, results=results)).text
    )


def test_only_reports_are_replaced(tmp_path):
    content = make_content(tmp_path / "run-1")
    write(tmp_path, content)
    write(tmp_path, content)
    (tmp_path / "report.html").write_text("my own page")
    with pytest.raises(DataError, match="is not a report of zoo report"):
        write(tmp_path, content)
