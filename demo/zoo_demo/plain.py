"""Lets names that may be anybody's be nothing but text on the page, where gradio takes Markdown and HTML."""

from __future__ import annotations

from zoo.utils.text import printable


def plain(text: str) -> str:
    """Returns what Markdown and HTML show as this very text: no markup, no link, no picture fetched from elsewhere."""
    return "".join(c if c.isalnum() or c in " ,.:;" else f"&#{ord(c)};" for c in printable(text))
