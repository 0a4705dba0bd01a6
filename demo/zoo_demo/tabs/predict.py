"""The tab on which one photo is classified: uploaded, dragged, pasted, or picked from the examples."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from zoo.data.images.decode import open_image
from zoo.errors import ZooError
from zoo_demo.asking import NO_MODEL, PRIVATE, chosen, pick_model, shown
from zoo_demo.photo_input import photo_input
from zoo_demo.plain import plain
from zoo_demo.scratch import scratch

if TYPE_CHECKING:
    from zoo_demo.examples import Example
    from zoo_demo.offer import Offer

_IDLE = "Upload, drop or paste a photo, or pick an example."
_EXAMPLES = "## Examples\nPhotos of the run that the model did not learn from."
_SHOWN_BY_BROWSERS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
_SECONDS_FOR_EXAMPLES = 60


def build(offer: Offer, page: gr.Blocks, tab: gr.Tab) -> None:
    """Builds the tab."""
    model = pick_model(offer, page, tab)
    with gr.Row(equal_height=False):
        photo = photo_input(label="Photo", sources=["upload", "clipboard"], height=360)
        with gr.Column():
            label = gr.Label(label="What the model says", num_top_classes=5)
            facts = gr.Markdown(_idle(model.value), elem_classes="zoo-facts")
        seen = gr.Image(
            label="Where it looked",
            alt_text="The photo, bright where the model looked",
            height=360,
            interactive=False,
            buttons=["fullscreen"],
            elem_classes="zoo-fitted",
        )
    heading = gr.Markdown(_EXAMPLES, visible=False)
    gallery = gr.Gallery(
        show_label=False,
        columns=6,
        object_fit="cover",
        allow_preview=False,
        interactive=False,
        elem_classes="zoo-examples",
        buttons=[],
    )

    async def classify(sent: str | bytes | None, name: str | None) -> tuple[Any, str, Any]:
        if sent is None:
            return None, _idle(name), None
        served = chosen(offer, name)
        try:
            told = await served.explain("The photo", sent)
        except ZooError as error:
            raise shown(error) from error
        notes = "".join(f"\n\n{plain(note)}" for note in served.predictor.notes)
        times = (
            f"**{told.read_ms + told.model_ms:.0f} ms**: {told.read_ms:.0f} to read the photo, "
            f"{told.model_ms:.0f} for the model; {plain(served.predictor.runtime)}"
        )
        return told.prediction.probabilities, times + notes, told.seen

    async def exhibit(name: str | None) -> tuple[gr.Markdown, list[tuple[str, str]]]:
        for _ in range(_SECONDS_FOR_EXAMPLES * 5):  # they are looked for while the page is up already
            if name is None or name in offer.examples:
                break
            await asyncio.sleep(0.2)
        items = [(_file(each), _caption(each)) for each in offer.examples.get(name or "", ())]
        return gr.Markdown(visible=bool(items)), items

    def pick(name: str | None, event: gr.SelectData) -> str:
        return _file(offer.examples[name or ""][event.index])

    gr.on(
        [photo.change, model.change],
        classify,
        [photo, model],
        [label, facts, seen],
        show_progress_on=[label, seen],
        api_name="predict",
        concurrency_limit=8,
    )
    gr.on([page.load, model.change], exhibit, model, [heading, gallery], **PRIVATE)
    gallery.select(pick, model, photo, **PRIVATE)


def _idle(model: str | None) -> str:
    return NO_MODEL if model is None else _IDLE


def _caption(example: Example) -> str:
    return example.truth if example.right else f"{example.truth}, got wrong"


def _file(example: Example) -> str:
    """Returns a copy of an example that browsers can show, from where the page may fetch it; it is made once."""
    content = example.source if isinstance(example.source, bytes) else example.source.read_bytes()
    file = scratch() / "examples" / hashlib.sha256(content).hexdigest()[:16] / (Path(example.name).name or "photo")
    shown = file.suffix.lower() in _SHOWN_BY_BROWSERS
    file = file if shown else file.with_suffix(".png")
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        if shown:
            file.write_bytes(content)
        else:
            open_image(content, name=example.name).save(file)
    return str(file)
