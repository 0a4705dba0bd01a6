"""Helpers of the browser tests: the demo under test, and small photos to upload."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Locator, Page

COLOURS = ("blue", "red")
MILLISECONDS = 20_000  # longest wait for anything: the machine may be busy


def make_noise_png(colour: str, seed: int) -> bytes:
    """Returns a PNG of noise with a dominant colour."""
    from fakes import encode_png, make_photo

    return encode_png(make_photo(("red", "green", "blue").index(colour), seed, (64, 80)))


def make_upload(name: str, content: bytes) -> dict[str, Any]:
    """Returns a file in the form that Playwright uploads."""
    return {"name": name, "mimeType": "image/png", "buffer": content}


@dataclass
class Demo:
    """A running demo.

    Attributes:
        url: Its address.
        models: Names of its models.
        runs: Folder of runs and lessons.
        requests: Every address that its pages have requested.
        errors: Uncaught errors of its scripts.
    """

    url: str
    models: list[str]
    runs: Path
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def foreign_requests(self) -> list[str]:
        """Returns the requested addresses outside the demo."""
        own = (f"{self.url}/", "data:", f"blob:{self.url}/")
        return [each for each in self.requests if not each.startswith(own)]


def open_tab(page: Page, tab: str) -> Locator:
    """Clicks on a tab and returns its panel."""
    page.get_by_role("tab", name=tab, exact=True).click()
    return page.locator("[role=tabpanel]:visible")
