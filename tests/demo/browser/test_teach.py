"""A lesson, from its first class to the correction of what was learnt, in headless Chromium."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from browsing import COLOURS, noise, opened, sent
from playwright.sync_api import expect

if TYPE_CHECKING:
    from pathlib import Path

    from browsing import Demo
    from playwright.sync_api import Locator, Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

MILLISECONDS = 120_000  # a training, its export and the start of two processes on a busy machine


def test_a_lesson_is_filled_trained_tried_and_corrected(page: Page, demo: Demo) -> None:
    lesson = demo.runs / "lessons" / "my lesson"
    panel = opened(page, "Teach")
    refuse(panel)
    fill_from_files(panel)
    fill_from_the_camera(panel, lesson)
    remove(panel, lesson)
    train_and_stop(panel)
    train_and_reload(panel)
    download(panel)
    correct(panel, lesson)
    use_elsewhere(page)


def add_class(panel: Locator, name: str) -> None:
    panel.get_by_label("New class").fill(name)
    panel.get_by_role("button", name="Add class").click()
    expect(panel.get_by_label("Photos go to the class")).to_have_value(name)


def begin(panel: Locator) -> None:
    choose(panel, "Backbone", "zoo-tinynet/tinynet")
    choose(panel, "Train", "all of it, from scratch")
    panel.get_by_role("button", name="Train", exact=True).click()


def choose(panel: Locator, label: str, name: str) -> None:
    field = panel.get_by_role("combobox", name=label, exact=True)
    for _ in range(10):  # the choices may still be on their way
        field.fill(name)
        field.press("Enter")
        with suppress(AssertionError):
            expect(field).to_have_value(name, timeout=2000)
            return
    expect(field).to_have_value(name)


def refuse(panel: Locator) -> None:
    for button, reason in (
        ("Add class", "cannot name a class"),
        ("Train", "A lesson needs two classes or more."),
        ("Add it to this class", "There is no photo to add."),
    ):
        panel.get_by_role("button", name=button, exact=True).click()
        expect(panel.get_by_role("alert").filter(has_text=reason)).to_be_visible()


def fill_from_files(panel: Locator) -> None:
    expect(panel.get_by_text("No class yet")).to_be_visible()
    for colour in COLOURS:
        add_class(panel, colour)
        files = [sent(f"{seed}.png", noise(colour, 200 + seed)) for seed in range(8)]
        panel.locator("input[type=file]").first.set_input_files([*files, sent("notes.png", b"nonsense")])
        expect(panel.get_by_text(f"8 {colour}")).to_be_visible()
    expect(panel.page.get_by_text("notes.png: it is not an image").first).to_be_visible()
    expect(panel.get_by_role("button", name=re.compile("Thumbnail"))).to_have_count(8)


def fill_from_the_camera(panel: Locator, lesson: Path) -> None:
    add_class(panel, "screen")
    panel.get_by_role("button", name="Start the camera").click()
    panel.get_by_role("button", name="Take 10 shots").click()

    expect(panel.get_by_text("10 of 10: ")).to_be_visible()
    shots = len(list((lesson / "screen").glob("*.jpg")))
    assert shots > 3  # the camera feigned repeats itself, and no photo is kept twice
    expect(panel.get_by_text(f"{shots} screen")).to_be_visible()


def remove(panel: Locator, lesson: Path) -> None:
    before = set((lesson / "screen").iterdir())
    panel.get_by_role("button", name="Remove the chosen photo").click()
    expect(panel.get_by_role("alert").filter(has_text="Choose a photo first")).to_be_visible()
    with panel.page.expect_response("**/run/**"):  # it is told which photo is meant
        panel.get_by_role("button", name="Thumbnail 2", exact=False).first.click()
    panel.get_by_role("button", name="Remove the chosen photo").click()
    expect(panel.get_by_text(f"{len(before) - 1} screen")).to_be_visible()
    panel.get_by_role("button", name="Remove the class").click()

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
    opened(panel.page, "Teach")

    expect(panel.get_by_text("8 blue, 8 red")).to_be_visible()
    expect(panel.get_by_role("button", name="Stop", exact=True)).to_be_enabled()
    expect(panel.get_by_text("Ready: try it below")).to_be_visible(timeout=MILLISECONDS)
    for curve in ("accuracy", "loss"):
        expect(panel.get_by_text(curve, exact=True).first).to_be_visible()


def download(panel: Locator) -> None:
    from zoo_export.predictor import load

    with panel.page.expect_download() as download:
        panel.get_by_role("button", name="Download the ONNX file").click()

    assert download.value.suggested_filename == "model.onnx"
    predictor = load(download.value.path())
    assert predictor.classes == COLOURS


def correct(panel: Locator, lesson: Path) -> None:
    panel.get_by_text("Drop Image Here").wait_for()
    panel.locator("input[type=file]").last.set_input_files(sent("new.png", noise("red", 300)))
    expect(panel.get_by_test_id("label-output-value")).to_have_text(re.compile("red|blue"))

    choose(panel, "It really is", "red")
    panel.get_by_role("button", name="Add it to this class").click()

    expect(panel.get_by_text("It is with red now.")).to_be_visible()
    expect(panel.get_by_text("8 blue, 9 red")).to_be_visible()
    assert len(list((lesson / "red").glob("*.jpg"))) == 9


def use_elsewhere(page: Page) -> None:
    panel = opened(page, "Compare")
    expect(panel.get_by_role("checkbox", name="lesson: my lesson")).to_be_visible()
    panel = opened(page, "Predict")
    choose(panel, "Model", "lesson: my lesson")
    panel.locator("input[type=file]").first.set_input_files(sent("new.png", noise("blue", 300)))

    expect(panel.get_by_test_id("label-output-value")).to_have_text(re.compile("red|blue"))
