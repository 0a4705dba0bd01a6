"""The error that the page shows, and that leaves no trace in the server's log: it is the visitor's, not ours."""

from __future__ import annotations

import gradio as gr

from zoo_demo.plain import plain


class Refusal(gr.Error):
    """What a visitor is told in the place of an answer.

    Args:
        message: What is wrong, and what to do; shown as it is, though gradio takes it for HTML.
        title: In two words.
        lasting: Whether it stays until it is closed.
    """

    def __init__(self, message: str, *, title: str, lasting: bool = False) -> None:
        super().__init__(plain(message), title=title, duration=None if lasting else 10, print_exception=False)
