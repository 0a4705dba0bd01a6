"""The tab on which one photo is classified: uploaded, dragged, pasted, or picked from the examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from zoo.errors import ImageError
from zoo_demo.asking import ask, chosen, pick_model, shown

if TYPE_CHECKING:
    from zoo_demo.offer import Offer


def build(offer: Offer, page: gr.Blocks) -> None:
    """Builds the tab."""
    model = pick_model(offer, page)
    with gr.Row(equal_height=False):
        photo = gr.Image(
            label="Photo", type="filepath", sources=["upload", "clipboard"], height=360, buttons=["fullscreen"]
        )
        with gr.Column():
            label = gr.Label(label="What is to be seen", num_top_classes=5)
            facts = gr.Markdown("Upload, drop or paste a photo.", elem_classes="zoo-facts")

    async def classify(path: str | None, name: str) -> tuple[Any, str]:
        if path is None:
            return None, "Upload, drop or paste a photo."
        served = chosen(offer, name)
        answer = await ask(served, [("The photo", path)])
        outcome = answer.outcomes[0]
        if isinstance(outcome, ImageError):
            raise shown(outcome)
        return outcome.probabilities, (
            f"**{answer.read_ms + answer.model_ms:.0f} ms**: {answer.read_ms:.0f} to read the photo, "
            f"{answer.model_ms:.0f} for the model; {served.predictor.runtime}"
        )

    gr.on(
        [photo.change, model.change], classify, [photo, model], [label, facts], api_name="predict", concurrency_limit=8
    )
