"""What a visitor does on each tab, in headless Chromium."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from browsing import noise, opened, sent
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Callable

    from browsing import Demo
    from playwright.sync_api import Locator, Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def upload(panel: Locator, *files: dict[str, object]) -> None:
    panel.locator("input[type=file]").first.set_input_files(list(files))


def test_an_upload_is_classified_and_shows_where_the_model_looked(page: Page) -> None:
    panel = opened(page, "Predict")
    upload(panel, sent("photo.png", noise("red", 100)))

    expect(panel.get_by_test_id("label-output-value")).to_have_text("red")
    expect(panel.get_by_alt_text("bright where the model looked")).to_be_visible()
    expect(
        panel.get_by_text(re.compile(r"\d+ ms: \d+ to read the photo, \d+ for the model; .*cpu.*fp32"))
    ).to_be_visible()


def test_an_example_of_the_run_is_classified(page: Page) -> None:
    panel = opened(page, "Predict")
    examples = panel.get_by_role("button", name=re.compile("Thumbnail"))
    examples.first.wait_for()
    assert examples.count() >= 2
    upload(panel, sent("photo.png", noise("red", 101)))
    expect(panel.get_by_test_id("label-output-value")).to_have_text("red")

    panel.get_by_text("blue", exact=True).last.click()

    expect(panel.get_by_test_id("label-output-value")).to_have_text("blue")


def test_what_is_no_photo_is_refused_with_the_reason(page: Page) -> None:
    upload(opened(page, "Compare"), sent("bad.png", b"nonsense"))

    expect(page.get_by_text("it is not an image").first).to_be_visible()
    page.reload()


def test_models_are_compared(page: Page, demo: Demo) -> None:
    panel = opened(page, "Compare")
    upload(panel, sent("photo.png", noise("blue", 100)))

    for name in demo.models:
        expect(panel.get_by_role("gridcell", name=name)).to_be_visible()
    expect(panel.get_by_role("gridcell", name="blue")).to_have_count(2)


def test_a_batch_names_the_file_that_cannot_be_read(page: Page) -> None:
    panel = opened(page, "Batch")
    files = [sent("a.png", noise("red", 1)), sent("b.png", noise("blue", 1)), sent("c.png", b"nonsense")]
    upload(panel, *files)
    panel.get_by_role("cell", name="c.png").wait_for()
    panel.get_by_role("button", name="Classify all").click()

    expect(panel.get_by_text("3 photos: 1 red, 1 blue, 1 could not be read.")).to_be_visible()
    row = panel.get_by_role("row").filter(has=page.get_by_role("gridcell", name="c.png"))
    expect(row.get_by_text("it is not an image")).to_be_visible()
    with page.expect_download() as download:
        panel.get_by_role("button", name="Download the table as CSV").click()
    assert "c.png,,,,,c.png: it is not an image" in download.value.path().read_text("utf-8").replace('"', "")


def test_viewers_with_a_camera_do_not_wait_for_one_another(visit: Callable[..., Page], demo: Demo) -> None:
    """And none of them has more than a frame under way."""
    pages = [visit() for _ in range(2)]
    panels = [opened(each, "Live") for each in pages]
    for panel in panels:
        panel.get_by_role("button", name="Start the camera").click()
    for panel in panels:
        expect(panel.get_by_text(re.compile(r"[\d.]+ frames a second; \d+ ms from frame to answer"))).to_be_visible()
        expect(panel.get_by_role("listitem")).to_have_count(2)

    frames = [under_way(each, 1.5) for each in pages]

    assert min(count for count, _ in frames) > 4
    assert [most for _, most in frames] == [1, 1]
    panels[0].get_by_role("button", name="Stop the camera").click()
    expect(panels[0].get_by_role("button", name="Start the camera")).to_be_visible()
    opened(pages[1], "Predict")  # who leaves the tab puts the camera out
    expect(pages[1].get_by_role("button", name="Start the camera", include_hidden=True).first).to_be_attached()
    for each in pages:
        each.context.close()


def under_way(page: Page, seconds: float) -> tuple[int, int]:
    """Returns how many frames a page sent in a while, and how many of them at a time at most."""
    sent_, now, most = 0, 0, 0

    def begun(request: object) -> None:
        nonlocal sent_, now, most
        if "component_server" in request.url:  # type: ignore[attr-defined]
            sent_, now = sent_ + 1, now + 1
            most = max(most, now)

    def ended(request: object) -> None:
        nonlocal now
        if "component_server" in request.url:  # type: ignore[attr-defined]
            now = max(now - 1, 0)

    page.on("request", begun)
    page.on("requestfinished", ended)
    page.wait_for_timeout(1000 * seconds)
    page.remove_listener("request", begun)
    page.remove_listener("requestfinished", ended)
    return sent_, most


def test_a_camera_that_cannot_be_had_is_told(visit: Callable[..., Page]) -> None:
    page = visit()
    page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotFoundError') } }"
    )
    panel = opened(page, "Live")
    panel.get_by_role("button", name="Start the camera").click()

    expect(panel.get_by_text("There is no camera.")).to_be_visible()
    page.context.close()


def test_no_request_leaves_the_machine(page: Page, demo: Demo) -> None:
    for tab in ("Predict", "Live", "Compare", "Batch", "Teach"):
        opened(page, tab)
        time.sleep(0.2)

    assert len(demo.asked) > 50
    assert demo.foreign() == []
    assert demo.errors == []
