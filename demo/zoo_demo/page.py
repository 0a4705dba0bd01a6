"""The page: a tab for each thing that one can do. Each tab is a module with a function that builds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from zoo_demo.tabs import batch, compare, live, predict, teach

if TYPE_CHECKING:
    from zoo_demo.offer import Offer

TITLE = "Zoo"
_AT_ONCE, _WAITING = 8, 256  # calls of a function of the page at a time; calls of all that wait
_TABS = {
    "Predict": predict.build,
    "Live": live.build,
    "Compare": compare.build,
    "Batch": batch.build,
    "Teach": teach.build,
}


def make_page(offer: Offer) -> gr.Blocks:
    """Returns the page on what is on offer."""
    page = gr.Blocks(title=TITLE, analytics_enabled=False)
    with page:
        gr.Markdown("# What is in the photo?")
        with gr.Tabs():
            for name, build in _TABS.items():
                with gr.Tab(name) as tab:
                    build(offer, page, tab)
    # Visitors do not wait for one another; what is beyond the queue's end is told to come back.
    page.queue(default_concurrency_limit=_AT_ONCE, max_size=_WAITING)
    return page
