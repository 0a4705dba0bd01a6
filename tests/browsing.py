"""What tests in a browser share: the demo that they visit, and small photos to send."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Locator, Page

COLOURS = ("blue", "red")
MILLISECONDS = 20_000  # to wait for anything, at most: the machine may be busy


def noise(colour: str, seed: int) -> bytes:
    """Returns a PNG of noise through which a colour shines."""
    from fakes import photo, png

    return png(photo(("red", "green", "blue").index(colour), seed, (64, 80)))


def sent(name: str, content: bytes) -> dict[str, Any]:
    """Returns a file as Playwright gives it to a page."""
    return {"name": name, "mimeType": "image/png", "buffer": content}


@dataclass
class Demo:
    """A demo that listens.

    Attributes:
        url: Where.
        models: Their names.
        runs: The folder of runs, with the lessons in it.
        asked: Every address that its pages have asked for.
        errors: What their scripts did not expect.
    """

    url: str
    models: list[str]
    runs: Path
    asked: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def foreign(self) -> list[str]:
        """Returns the addresses that are not its own."""
        own = (f"{self.url}/", "data:", f"blob:{self.url}/")
        return [each for each in self.asked if not each.startswith(own)]


def opened(page: Page, tab: str) -> Locator:
    """Returns the panel of a tab, after a click on it."""
    page.get_by_role("tab", name=tab, exact=True).click()
    return page.locator("[role=tabpanel]:visible")
