"""Tests of each tab as a visitor uses it."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from browsing import make_noise_png, make_upload, open_tab
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Callable

    from browsing import Demo
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.timeout(120)


def upload(panel: Locator, *files: dict[str, object]) -> None:
    panel.locator("input[type=file]").first.set_input_files(list(files))


def test_an_upload_is_classified_and_gets_a_heat_map(page: Page) -> None:
    panel = open_tab(page, "Predict")
    upload(panel, make_upload("photo.png", make_noise_png("red", 100)))

    expect(panel.get_by_test_id("label-output-value")).to_have_text("red")
    expect(panel.get_by_alt_text("bright where the model looked")).to_be_visible()
    expect(
        panel.get_by_text(re.compile(r"\d+ ms \(\d+ ms reading the photo, \d+ ms in the model\) on .*cpu.*fp32"))
    ).to_be_visible()


def test_an_example_of_the_run_is_classified(page: Page) -> None:
    panel = open_tab(page, "Predict")
    examples = panel.get_by_role("button", name=re.compile("Thumbnail"))
    examples.first.wait_for()
    assert examples.count() >= 2
    upload(panel, make_upload("photo.png", make_noise_png("red", 101)))
    expect(panel.get_by_test_id("label-output-value")).to_have_text("red")

    panel.get_by_text("blue", exact=True).last.click()

    expect(panel.get_by_test_id("label-output-value")).to_have_text("blue")


def test_a_file_that_is_no_photo_is_rejected_with_the_reason(page: Page) -> None:
    upload(open_tab(page, "Compare"), make_upload("bad.png", b"nonsense"))

    expect(page.get_by_text("it is not an image").first).to_be_visible()
    page.reload()


def test_models_are_compared(page: Page, demo: Demo) -> None:
    panel = open_tab(page, "Compare")
    upload(panel, make_upload("photo.png", make_noise_png("blue", 100)))

    for name in demo.models:
        expect(panel.get_by_role("gridcell", name=name)).to_be_visible()
    expect(panel.get_by_role("gridcell", name="blue")).to_have_count(2)


def test_a_batch_names_the_file_that_cannot_be_read(page: Page) -> None:
    panel = open_tab(page, "Batch")
    files = [
        make_upload("a.png", make_noise_png("red", 1)),
        make_upload("b.png", make_noise_png("blue", 1)),
        make_upload("c.png", b"nonsense"),
    ]
    upload(panel, *files)
    panel.get_by_role("cell", name="c.png").wait_for()
    panel.get_by_role("button", name="Classify all").click()

    expect(panel.get_by_text("3 photos: 1 red, 1 blue, 1 unreadable.")).to_be_visible()
    row = panel.get_by_role("row").filter(has=page.get_by_role("gridcell", name="c.png"))
    expect(row.get_by_text("it is not an image")).to_be_visible()
    with page.expect_download() as download:
        panel.get_by_role("button", name="Download CSV").click()
    assert "c.png,,,,,,,c.png: it is not an image" in download.value.path().read_text("utf-8").replace('"', "")


@pytest.mark.slow
def test_viewers_with_a_camera_do_not_wait_for_one_another(visit: Callable[..., Page], demo: Demo) -> None:
    """And each of them has one frame in flight at most."""
    pages = [visit() for _ in range(2)]
    panels = [open_tab(each, "Live") for each in pages]
    for panel in panels:
        panel.get_by_role("button", name="Start camera").click()
    for panel in panels:
        expect(panel.get_by_text(re.compile(r"[\d.]+ frames per second, \d+ ms latency"))).to_be_visible()
        expect(panel.get_by_role("listitem")).to_have_count(2)

    frames = [frames_in_flight(each, 1.5) for each in pages]

    assert min(count for count, _ in frames) > 4
    assert [most for _, most in frames] == [1, 1]
    panels[0].get_by_role("button", name="Stop camera").click()
    expect(panels[0].get_by_role("button", name="Start camera")).to_be_visible()
    open_tab(pages[1], "Predict")  # leaving the tab stops the camera
    expect(pages[1].get_by_role("button", name="Start camera", include_hidden=True).first).to_be_attached()
    for each in pages:
        each.context.close()


def frames_in_flight(page: Page, seconds: float) -> tuple[int, int]:
    """Returns how many frames a page sends in a time, and the most in flight at once."""
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


def test_a_missing_camera_is_reported(visit: Callable[..., Page]) -> None:
    page = visit()
    page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotFoundError') } }"
    )
    panel = open_tab(page, "Live")
    panel.get_by_role("button", name="Start camera").click()

    expect(panel.get_by_text("No camera found.")).to_be_visible()
    page.context.close()


def test_no_request_leaves_the_machine(page: Page, demo: Demo) -> None:
    for tab in ("Predict", "Live", "Compare", "Batch", "Teach"):
        open_tab(page, tab)
        time.sleep(0.2)

    assert len(demo.requests) > 50
    assert demo.foreign_requests() == []
    assert demo.errors == []
