"""The tab that compares several models on one photo."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from zoo_demo.page.handlers import NO_MODEL, PRIVATE, predict_photo, require_model
from zoo_demo.page.uploads import photo_input

if TYPE_CHECKING:
    from zoo_demo.models.model_pool import ModelPool

_HEADERS = ["model", "prediction", "time", "runtime"]


def build(pool: ModelPool, page: gr.Blocks, tab: gr.Tab) -> None:
    """Builds the tab."""
    names = list(pool.models)
    with gr.Row():
        with gr.Column(scale=2):
            photo = photo_input(label="Photo", sources=["upload", "clipboard"], height=320)
        with gr.Column(scale=3):
            choices = gr.CheckboxGroup(names, value=names, label="Models", visible=bool(names))
            facts = gr.Markdown(_idle_text(len(names)), elem_classes="zoo-facts")
    table = gr.Dataframe(
        headers=_HEADERS,
        label="Predictions",
        interactive=False,
        wrap=True,
        column_widths=["26%", "26%", "26%", "22%"],
    )

    def refresh(selected: list[str]) -> tuple[gr.CheckboxGroup, str]:
        names = list(pool.models)
        selected = [name for name in selected if name in names] or names
        return gr.CheckboxGroup(choices=names, value=selected, visible=bool(names)), _idle_text(len(names))

    async def compare(photo: str | bytes | None, models: list[str]) -> list[list[object]]:
        rows: list[list[object]] = []
        if photo is None:
            return rows
        # One after another: models that ran at the same time would share the processors and distort the times.
        for name in dict.fromkeys(models):  # a request may repeat names
            model = require_model(pool, name)
            prediction, times = await predict_photo(model, photo)
            probability = (
                f", {prediction.probability:.1%}" if prediction.labels is None and prediction.known is not False else ""
            )
            result = f"{prediction.answer}{probability}"
            time = f"{times.model_ms:.1f} ms + {times.read_ms:.1f} ms reading the photo"
            rows.append([name, result, time, model.predictor.runtime])
        return rows

    gr.on(
        [photo.change, choices.change],
        compare,
        [photo, choices],
        table,
        api_name="compare",
        trigger_mode="multiple",
        concurrency_limit=1,  # for the same reason
    )
    gr.on([page.load, tab.select], refresh, choices, [choices, facts], **PRIVATE)


def _idle_text(models: int) -> str:
    if models == 0:
        return NO_MODEL
    text = "Upload, drop or paste a photo. The models classify it one after another."
    more = " Only one model is loaded: start the demo with several runs or exported files, or teach another one."
    return text if models > 1 else text + more
