"""The tab on which several models look at one photo."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from zoo.errors import ImageError
from zoo_demo.asking import NO_MODEL, PRIVATE, ask, chosen, shown
from zoo_demo.photo_input import photo_input

if TYPE_CHECKING:
    from zoo_demo.offer import Offer

_HEADERS = ["model", "says", "time", "runs on"]


def build(offer: Offer, page: gr.Blocks, tab: gr.Tab) -> None:
    """Builds the tab."""
    names = list(offer.served)
    with gr.Row():
        with gr.Column(scale=2):
            photo = photo_input(label="Photo", sources=["upload", "clipboard"], height=320)
        with gr.Column(scale=3):
            models = gr.CheckboxGroup(names, value=names, label="Models", visible=bool(names))
            facts = gr.Markdown(_idle(len(names)), elem_classes="zoo-facts")
    table = gr.Dataframe(
        headers=_HEADERS,
        label="What each says",
        interactive=False,
        wrap=True,
        column_widths=["30%", "20%", "25%", "25%"],
    )

    def refresh(wanted: list[str]) -> tuple[gr.CheckboxGroup, str]:
        names = list(offer.served)
        kept = [name for name in wanted if name in names] or names
        return gr.CheckboxGroup(choices=names, value=kept, visible=bool(names)), _idle(len(names))

    async def compare(sent: str | bytes | None, wanted: list[str]) -> list[list[object]]:
        rows: list[list[object]] = []
        # One after the other: side by side they would share the processors, and their times would tell nothing.
        if sent is None:
            return rows
        for name in wanted:
            served = chosen(offer, name)
            answer = await ask(served, [("The photo", sent)])
            outcome = answer.outcomes[0]
            if isinstance(outcome, ImageError):
                raise shown(outcome)
            says = f"{outcome.label}, {outcome.probability:.1%}"
            times = f"{answer.model_ms:.1f} ms, and {answer.read_ms:.1f} to read the photo"
            rows.append([name, says, times, served.predictor.runtime])
        return rows

    gr.on(
        [photo.change, models.change],
        compare,
        [photo, models],
        table,
        api_name="compare",
        trigger_mode="multiple",
        concurrency_limit=1,  # side by side, two comparisons would share the processors too
    )
    gr.on([page.load, tab.select], refresh, models, [models, facts], **PRIVATE)


def _idle(models: int) -> str:
    if models == 0:
        return NO_MODEL
    more = "" if models > 1 else " There is one model: start the demo with several runs or files, or teach one."
    return f"Upload, drop or paste a photo: the models look at it one after the other.{more}"
