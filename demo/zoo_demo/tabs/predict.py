"""The tabs that classify one picture: Predict takes a photo, Live takes the frames of a camera."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from zoo.data.images.decode import open_image
from zoo.errors import ZooError
from zoo_demo.page.camera import camera, retarget
from zoo_demo.page.handlers import (
    NO_MODEL,
    PRIVATE,
    UserError,
    escape_markup,
    predict_photo,
    require_model,
    select_model,
)
from zoo_demo.page.uploads import photo_input
from zoo_demo.temp_files import temp_folder

if TYPE_CHECKING:
    from zoo_demo.models.examples import Example
    from zoo_demo.models.model_pool import ModelPool

_IDLE = "Upload, drop or paste a photo, or choose an example."
_IDLE_LIVE = "Start the camera and point it at something."
_EXAMPLES = "## Examples\nValidation photos: the model was not trained on them."
_WEB_FORMATS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
_SECONDS_FOR_EXAMPLES = 60
_SECONDS_BETWEEN_FRAMES = 0.06  # smooth to the eye, and leaves capacity for others


def build(pool: ModelPool, page: gr.Blocks, tab: gr.Tab) -> None:
    """Builds the Predict tab."""
    choice = select_model(pool, page, tab)
    with gr.Row(equal_height=False):
        photo = photo_input(label="Photo", sources=["upload", "clipboard"], height=360)
        with gr.Column():
            label = gr.Label(label="Prediction", num_top_classes=5)
            facts = gr.Markdown(_idle_text(choice.value), elem_classes="zoo-facts")
        overlay = gr.Image(
            label="Heat map",
            alt_text="The photo, bright where the model looked",
            height=360,
            interactive=False,
            buttons=["fullscreen"],
            elem_classes="zoo-fitted",
        )

    async def classify(photo: str | bytes | None, model: str | None) -> tuple[Any, str, Any]:
        if photo is None:
            return None, _idle_text(model), None
        served = require_model(pool, model)
        try:
            result = await served.explain("The photo", photo)
        except ZooError as error:
            raise UserError.from_error(error) from error
        notes = "".join(f"\n\n{escape_markup(note)}" for note in served.predictor.notes)
        times = (
            f"**{result.read_ms + result.model_ms:.0f} ms** ({result.read_ms:.0f} ms reading the photo, "
            f"{result.model_ms:.0f} ms in the model) on {escape_markup(served.predictor.runtime)}"
        )
        prediction = result.prediction
        answer = ""
        if prediction.known is False:
            answer = f"**{escape_markup(prediction.answer)}**\n\n"
        elif prediction.labels is not None or served.predictor.decision is not None:  # not just the highest probability
            what = "Decided" if prediction.labels is None else "Labels"
            answer = f"{what}: **{escape_markup(prediction.answer)}**\n\n"
        return prediction.probabilities, answer + times + notes, result.overlay

    gr.on(
        [photo.change, choice.change],
        classify,
        [photo, choice],
        [label, facts, overlay],
        show_progress_on=[label, overlay],
        api_name="predict",
        concurrency_limit=8,
    )
    _build_examples(pool, page, choice, photo)


def _build_examples(pool: ModelPool, page: gr.Blocks, choice: gr.Dropdown, photo: gr.Image) -> None:
    """Builds the gallery of the examples of the chosen model, of which a click makes one the photo."""
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

    async def show_examples(model: str | None) -> tuple[gr.Markdown, list[tuple[str, str]]]:
        for _ in range(_SECONDS_FOR_EXAMPLES * 5):  # the search may still be running when the page loads
            if model is None or model in pool.examples:
                break
            await asyncio.sleep(0.2)
        examples = pool.examples.get(model or "", ())
        items = await asyncio.to_thread(lambda: [(_web_copy(each), _caption(each)) for each in examples])
        return gr.Markdown(visible=bool(items)), items

    def choose_example(model: str | None, event: gr.SelectData) -> Any:
        examples = pool.examples.get(model or "", ())
        return _web_copy(examples[event.index]) if event.index < len(examples) else gr.skip()

    gr.on([page.load, choice.change], show_examples, choice, [heading, gallery], **PRIVATE)
    gallery.select(choose_example, choice, photo, **PRIVATE)


def build_live(pool: ModelPool, page: gr.Blocks, tab: gr.Tab) -> None:
    """Builds the Live tab."""
    choice = select_model(pool, page, tab)

    async def classify(frame: bytes, target: dict[str, Any]) -> dict[str, Any]:
        served = require_model(pool, str(target.get("model")))
        prediction, times = await predict_photo(served, frame, name="The frame")
        parts = f"{times.read_ms:.0f} ms reading the frame, {times.model_ms:.0f} ms in the model"
        message = f"({parts}) on {served.predictor.runtime}"
        if prediction.known is False:
            message = f"{prediction.answer} {message}"
        return {"probabilities": prediction.probabilities, "message": message}

    view = camera(classify, idle=_IDLE_LIVE, interval=_SECONDS_BETWEEN_FRAMES, model=choice.value)
    gr.on([page.load, choice.change], lambda model: retarget(model=model), choice, view, **PRIVATE)


def _idle_text(model: str | None) -> str:
    return NO_MODEL if model is None else _IDLE


def _caption(example: Example) -> str:
    return example.truth if example.correct else f"{example.truth} (misclassified)"


def _web_copy(example: Example) -> str:
    """Returns the path of a copy that the page may serve and browsers can show; the first call writes it."""
    content = example.source if isinstance(example.source, bytes) else example.source.read_bytes()
    name = Path(Path(example.name).name or "photo")
    is_web_format = name.suffix.lower() in _WEB_FORMATS
    name = name if is_web_format else name.with_suffix(".png")
    file = temp_folder() / "examples" / hashlib.sha256(content).hexdigest()[:16] / name
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        if is_web_format:
            file.write_bytes(content)
        else:
            open_image(content, name=example.name).save(file)
    return str(file)
