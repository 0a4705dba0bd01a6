"""Tests that everybody can use the page: phone and desktop, light and dark, keyboard and screen reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from browsing import make_noise_png, make_upload, open_tab
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

TABS = ("Predict", "Live", "Compare", "Batch", "Teach")


def fill(page: Page, tab: str) -> None:
    """Opens a tab and makes it show results if a photo suffices for that."""
    panel = open_tab(page, tab)
    if tab in ("Predict", "Compare", "Batch"):
        panel.locator("input[type=file]").first.set_input_files(make_upload("photo.png", make_noise_png("red", 1)))
    if tab == "Batch":
        panel.get_by_role("button", name="Classify all").click()
    if tab in ("Compare", "Batch"):
        panel.get_by_role("gridcell").first.wait_for()
    if tab == "Predict":
        panel.get_by_test_id("label-output-value").wait_for()
    if tab == "Live":
        panel.get_by_role("button", name="Start camera").click()
        panel.get_by_role("listitem").first.wait_for()


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_every_tab_fits_and_is_accessible(visit: Callable[..., Page], width: int, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = visit(viewport={"width": width, "height": 844}, color_scheme=scheme)
    problems = []
    for tab in TABS:
        fill(page, tab)
        page.wait_for_timeout(400)  # elements that fade in have little contrast meanwhile
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab
        for violation in axe.Axe().run(page).response["violations"]:
            if violation["impact"] in ("serious", "critical"):
                problems.append((tab, violation["id"], [node["html"][:200] for node in violation["nodes"]]))
    page.context.close()

    assert problems == []


def test_the_keyboard_reaches_tabs_and_buttons(visit: Callable[..., Page]) -> None:
    page = visit()
    page.keyboard.press("Tab")
    while page.evaluate("document.activeElement.innerText") != "Live":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    start = page.get_by_role("button", name="Start camera")
    start.wait_for()
    for _ in range(12):
        page.keyboard.press("Tab")
        if start.evaluate("button => button === document.activeElement"):
            break
    page.keyboard.press("Enter")

    expect(page.get_by_role("button", name="Stop camera")).to_be_visible()
    page.context.close()
