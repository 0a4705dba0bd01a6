"""The part of a lesson in which what was taught is tried, and photos that it gets wrong are handed to their class."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from zoo.errors import ImageError
from zoo_demo.asking import PRIVATE, ask, noted, notice, shown, told
from zoo_demo.photo_input import photo_input
from zoo_demo.refusal import Refusal
from zoo_demo.tabs.teach.photos import named

if TYPE_CHECKING:
    from zoo_demo.tabs.teach.photos import Shelf
    from zoo_demo.teaching.desk import Desk

_SURE = 0.7  # a probability below it is worth a photo more
_IDLE = "Try a photo that is not in the lesson, once there is a model."


def build(desk: Desk, lesson: gr.Dropdown, shelf: Shelf) -> None:
    """Builds the part."""
    with gr.Row(equal_height=False):
        photo = photo_input(label="Photo", sources=["upload", "webcam", "clipboard"], height=320)
        with gr.Column():
            says = gr.Label(label="What the model says", num_top_classes=5)
            facts = gr.Markdown(_IDLE, elem_classes="zoo-facts")
            with gr.Row():
                right = gr.Dropdown([], label="It really is", interactive=True)
                correct = gr.Button("Add it to this class", elem_classes="zoo-end")
            wrong = notice()

    async def classify(lesson_: str, sent: str | bytes | None) -> tuple[dict[str, float] | None, str]:
        if sent is None:
            return None, _IDLE
        served = told(desk.served)(lesson_)
        if served is None:
            raise Refusal("Train first: there is nothing to try yet.", title="No model yet")
        outcome = (await ask(served, [("The photo", sent)])).outcomes[0]
        if isinstance(outcome, ImageError):
            raise shown(outcome)
        return outcome.probabilities, _advice(outcome.probability)

    def add(lesson_: str, label_: str | None, sent: str | bytes | None) -> list[Any]:
        if sent is None:
            raise Refusal("There is no photo to add.", title="No photo")
        label_ = named(label_)
        desk.lesson(lesson_).add(label_, sent if isinstance(sent, bytes) else Path(sent))
        return [f"It is with {label_} now. Train again to learn from it.", *shelf.view(lesson_, label_)]

    @told
    def classes(lesson_: str) -> gr.Dropdown:
        return gr.Dropdown(choices=list(desk.lesson(lesson_).classes()), value=None)

    photo.change(classify, [lesson, photo], [says, facts], api_visibility="private")
    outputs = [facts, *shelf.parts]
    correct.click(noted(add, outputs=len(outputs)), [lesson, right, photo], [wrong, *outputs], **PRIVATE)
    gr.on([lesson.change, shelf.label.change], classes, lesson, right, **PRIVATE)


def _advice(probability: float) -> str:
    if probability < _SURE:
        return "**Unsure.** Say what it is, add it to that class, and train again."
    return "Wrong? Say what it is, add it to that class, and train again."
