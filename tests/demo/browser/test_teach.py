"""Test of a lesson, from its first class to the correction of the trained model."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from browsing import COLOURS, make_noise_png, make_upload, open_tab
from playwright.sync_api import expect

if TYPE_CHECKING:
    from pathlib import Path

    from browsing import Demo
    from playwright.sync_api import Locator, Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

MILLISECONDS = 120_000  # for a training, its export and the start of two processes on a busy machine


def test_a_lesson_is_filled_trained_tried_and_corrected(page: Page, demo: Demo) -> None:
    lesson = demo.runs / "lessons" / "my lesson"
    panel = open_tab(page, "Teach")
    reject_incomplete_input(panel)
    fill_from_files(panel)
    fill_from_the_camera(panel, lesson)
    remove(panel, lesson)
    train_and_stop(panel)
    train_and_reload(panel)
    download(panel)
    correct(panel, lesson)
    use_elsewhere(page)
    photos = {each.name: len(list(each.iterdir())) for each in lesson.iterdir() if each.is_dir()}
    assert photos == {"blue": 8, "red": 9}


def add_class(panel: Locator, name: str) -> None:
    panel.get_by_label("New class").fill(name)
    panel.get_by_role("button", name="Add class").click()
    expect(panel.get_by_label("Add photos to")).to_have_value(name)


def begin(panel: Locator) -> None:
    choose(panel, "Backbone", "zoo-tinynet/tinynet")
    choose(panel, "What to train", "Everything, from scratch")
    panel.get_by_role("button", name="Train", exact=True).click()


def choose(panel: Locator, label: str, name: str) -> None:
    field = panel.get_by_role("combobox", name=label, exact=True)
    for _ in range(10):  # the choices may not have arrived yet
        field.fill(name)
        field.press("Enter")
        with suppress(AssertionError):
            expect(field).to_have_value(name, timeout=2000)
            return
    expect(field).to_have_value(name)


def reject_incomplete_input(panel: Locator) -> None:
    for button, reason in (
        ("Add class", "not a valid name for a class"),
        ("Train", "A lesson needs at least two classes."),
        ("Add photo to class", "Choose a photo first."),
    ):
        panel.get_by_role("button", name=button, exact=True).click()
        expect(panel.get_by_role("alert").filter(has_text=reason)).to_be_visible()


def fill_from_files(panel: Locator) -> None:
    expect(panel.get_by_text("No classes yet")).to_be_visible()
    for colour in COLOURS:
        add_class(panel, colour)
        files = [make_upload(f"{seed}.png", make_noise_png(colour, 200 + seed)) for seed in range(8)]
        panel.locator("input[type=file]").first.set_input_files([*files, make_upload("notes.png", b"nonsense")])
        expect(panel.get_by_text(f"8 {colour}")).to_be_visible()
    expect(panel.page.get_by_text("notes.png: it is not an image").first).to_be_visible()
    expect(panel.get_by_role("button", name=re.compile("Thumbnail"))).to_have_count(8)


def fill_from_the_camera(panel: Locator, lesson: Path) -> None:
    add_class(panel, "screen")
    panel.get_by_role("button", name="Start camera").click()
    panel.get_by_role("button", name="Take 10 photos").click()

    expect(panel.get_by_text("10 of 10: ")).to_be_visible()
    shots = len(list((lesson / "screen").glob("*.jpg")))
    assert shots > 3  # the fake camera repeats itself, and duplicates are stored once
    expect(panel.get_by_text(f"{shots} screen")).to_be_visible()


def remove(panel: Locator, lesson: Path) -> None:
    before = set((lesson / "screen").iterdir())
    panel.get_by_role("button", name="Remove photo").click()
    expect(panel.get_by_role("alert").filter(has_text="Select a photo first")).to_be_visible()
    with panel.page.expect_response("**/run/**"):  # selects the photo
        panel.get_by_role("button", name="Thumbnail 2", exact=False).first.click()
    panel.get_by_role("button", name="Remove photo").click()
    expect(panel.get_by_text(f"{len(before) - 1} screen")).to_be_visible()
    panel.get_by_role("button", name="Remove class").click()

    expect(panel.get_by_text("8 blue, 8 red", exact=True)).to_be_visible()
    assert not (lesson / "screen").exists()


def train_and_stop(panel: Locator) -> None:
    begin(panel)
    panel.get_by_role("button", name="Stop", exact=True).click()

    expect(panel.get_by_text("Stopped.")).to_be_visible(timeout=MILLISECONDS)
    expect(panel.get_by_role("button", name="Train", exact=True)).to_be_enabled()


def train_and_reload(panel: Locator) -> None:
    begin(panel)
    expect(panel.get_by_role("progressbar")).to_be_visible()
    panel.page.reload()
    open_tab(panel.page, "Teach")

    expect(panel.get_by_text("8 blue, 8 red")).to_be_visible()
    expect(panel.get_by_role("button", name="Stop", exact=True)).to_be_enabled()
    expect(panel.get_by_text("Done. Try the model below")).to_be_visible(timeout=MILLISECONDS)
    for curve in ("accuracy", "loss"):
        expect(panel.get_by_text(curve, exact=True).first).to_be_visible()


def download(panel: Locator) -> None:
    from zoo_export.runtime.predictor import load

    with panel.page.expect_download() as download:
        panel.get_by_role("button", name="Download ONNX file").click()

    assert download.value.suggested_filename == "model.onnx"
    predictor = load(download.value.path())
    assert predictor.classes == COLOURS


def correct(panel: Locator, lesson: Path) -> None:
    panel.get_by_text("Drop Image Here").wait_for()
    panel.locator("input[type=file]").last.set_input_files(make_upload("new.png", make_noise_png("red", 300)))
    expect(panel.get_by_test_id("label-output-value")).to_have_text(re.compile("red|blue"))

    choose(panel, "Correct class", "red")
    panel.get_by_role("button", name="Add photo to class").click()

    expect(panel.get_by_text("Added to red.")).to_be_visible()
    expect(panel.get_by_text("8 blue, 9 red")).to_be_visible()
    assert len(list((lesson / "red").glob("*.jpg"))) == 9


def use_elsewhere(page: Page) -> None:
    panel = open_tab(page, "Compare")
    expect(panel.get_by_role("checkbox", name="lesson: my lesson")).to_be_visible()
    panel = open_tab(page, "Predict")
    choose(panel, "Model", "lesson: my lesson")
    panel.locator("input[type=file]").first.set_input_files(make_upload("new.png", make_noise_png("blue", 300)))

    expect(panel.get_by_test_id("label-output-value")).to_have_text(re.compile("red|blue"))
