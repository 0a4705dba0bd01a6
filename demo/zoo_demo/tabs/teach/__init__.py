"""The tab on which a new classifier is taught: name classes, fill them, train, try, correct, train again.

What it shows is read from disk and from the training each time: a reloaded page finds all as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from zoo_demo.asking import PRIVATE, noted, notice
from zoo_demo.tabs.teach import photos, training, trial
from zoo_demo.teaching.desk import Desk

if TYPE_CHECKING:
    from zoo_demo.offer import Offer

_FIRST = "my lesson"


def build(offer: Offer, page: gr.Blocks, tab: gr.Tab) -> None:
    """Builds the tab."""
    desk = Desk(offer)
    lesson = gr.Dropdown(
        _names(desk),
        value=_FIRST,
        label="Lesson",
        allow_custom_value=True,
        info="Pick one, or type a new name: photos are kept under it.",
    )
    wrong = notice()
    remembered = gr.BrowserState(_FIRST, storage_key="zoo-lesson")
    page.load(lambda name: gr.Dropdown(choices=_names(desk), value=name), remembered, lesson, **PRIVATE)
    tab.select(lambda: gr.Dropdown(choices=_names(desk)), None, lesson, **PRIVATE)
    lesson.input(lambda name: name, lesson, remembered, **PRIVATE)
    lesson.change(noted(lambda name: _checked(desk, name), outputs=0), lesson, [wrong], **PRIVATE)
    gr.Markdown("## 1. Photos")
    shelf = photos.build(desk, lesson, page)
    gr.Markdown("## 2. Training")
    training.build(desk, lesson, page, offer.registry)
    gr.Markdown("## 3. Try it, and correct it")
    trial.build(desk, lesson, shelf)


def _names(desk: Desk) -> list[str]:
    return [_FIRST, *(name for name in desk.names() if name != _FIRST)]


def _checked(desk: Desk, name: str) -> list[Any]:
    desk.lesson(name)
    return []
