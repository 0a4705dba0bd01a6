"""The tab that teaches a new classifier: add photos, train, try the model, correct it, train again.

Each event reads the state from disk and from the training, so a reloaded page shows everything as it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from zoo_demo.lessons.lesson_store import LessonStore
from zoo_demo.page.handlers import (
    PRIVATE,
    UserError,
    error_notice,
    predict_photo,
    show_errors,
    show_errors_in_notice,
)
from zoo_demo.page.uploads import photo_input
from zoo_demo.tabs import teach_photos, teach_training
from zoo_demo.tabs.teach_photos import require_class

if TYPE_CHECKING:
    from zoo_demo.models.model_pool import ModelPool
    from zoo_demo.tabs.teach_photos import PhotosView

_DEFAULT_LESSON = "my lesson"
_CONFIDENT = 0.7  # a photo predicted with less is worth adding to the lesson
_IDLE = "Once the model is trained, try a photo that is not in the lesson."


def build(pool: ModelPool, page: gr.Blocks, tab: gr.Tab) -> None:
    """Builds the tab."""
    store = LessonStore(pool)
    lesson = gr.Dropdown(
        _lesson_names(store),
        value=_DEFAULT_LESSON,
        label="Lesson",
        allow_custom_value=True,
        info="Choose a lesson, or type a name to start a new one.",
    )
    notice = error_notice()
    last_lesson = gr.BrowserState(_DEFAULT_LESSON, storage_key="zoo-lesson")
    page.load(lambda name: gr.Dropdown(choices=_lesson_names(store), value=name), last_lesson, lesson, **PRIVATE)
    tab.select(lambda: gr.Dropdown(choices=_lesson_names(store)), None, lesson, **PRIVATE)
    lesson.input(lambda name: name, lesson, last_lesson, **PRIVATE)
    lesson.change(show_errors_in_notice(lambda name: _check_name(store, name), outputs=0), lesson, [notice], **PRIVATE)
    gr.Markdown("## 1. Add photos")
    photos_view = teach_photos.build(store, lesson, page)
    gr.Markdown("## 2. Train")
    teach_training.build(store, lesson, page, pool.registry)
    gr.Markdown("## 3. Try and correct")
    _build_trial(store, lesson, photos_view)


def _build_trial(store: LessonStore, lesson: gr.Dropdown, photos_view: PhotosView) -> None:
    """Builds the part that tries the model, and adds photos that it gets wrong to their class."""
    with gr.Row(equal_height=False):
        photo = photo_input(label="Photo", sources=["upload", "webcam", "clipboard"], height=320)
        with gr.Column():
            prediction = gr.Label(label="Prediction", num_top_classes=5)
            facts = gr.Markdown(_IDLE, elem_classes="zoo-facts")
            with gr.Row():
                correct_class = gr.Dropdown([], label="Correct class", interactive=True)
                add_button = gr.Button("Add photo to class", elem_classes="zoo-end")
            notice = error_notice()

    async def classify(lesson: str, photo: str | bytes | None) -> tuple[dict[str, float] | None, str]:
        if photo is None:
            return None, _IDLE
        model = show_errors(store.model)(lesson)
        if model is None:
            raise UserError("Train a model first.", title="No model")
        outcome, _ = await predict_photo(model, photo)
        return outcome.probabilities, _advice(outcome.probability)

    def add(lesson: str, label: str | None, photo: str | bytes | None) -> list[Any]:
        if photo is None:
            raise UserError("Choose a photo first.", title="No photo")
        label = require_class(label)
        store.lesson(lesson).add(label, photo if isinstance(photo, bytes) else Path(photo))
        return [f"Added to {label}. Train again to learn from it.", *photos_view.render(lesson, label)]

    @show_errors
    def list_classes(lesson: str) -> gr.Dropdown:
        return gr.Dropdown(choices=list(store.lesson(lesson).classes()), value=None)

    photo.change(classify, [lesson, photo], [prediction, facts], api_visibility="private")
    outputs = [facts, *photos_view.components]
    add_button.click(
        show_errors_in_notice(add, outputs=len(outputs)), [lesson, correct_class, photo], [notice, *outputs], **PRIVATE
    )
    gr.on([lesson.change, photos_view.label.change], list_classes, lesson, correct_class, **PRIVATE)


def _lesson_names(store: LessonStore) -> list[str]:
    return [_DEFAULT_LESSON, *(name for name in store.names() if name != _DEFAULT_LESSON)]


def _check_name(store: LessonStore, name: str) -> list[Any]:
    store.lesson(name)
    return []


def _advice(probability: float) -> str:
    steps = "Choose the correct class, add the photo to it, and train again."
    return f"**The model is not sure.** {steps}" if probability < _CONFIDENT else f"Is this wrong? {steps}"
