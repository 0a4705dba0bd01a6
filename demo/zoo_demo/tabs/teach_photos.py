"""The part of the Teach tab that creates classes, and fills them from files and from the camera."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr

from zoo.errors import ImageError
from zoo_demo.page.camera import camera, retarget
from zoo_demo.page.handlers import (
    PRIVATE,
    UserError,
    error_notice,
    escape_markup,
    show_errors,
    show_errors_in_notice,
)
from zoo_demo.page.uploads import uploaded_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo_demo.lessons.lesson_store import LessonStore

_SHOTS = 10
_SECONDS_BETWEEN_SHOTS = 0.3
_MAX_THUMBNAILS = 60


class PhotosView(NamedTuple):
    """The components that show the photos of a lesson.

    Attributes:
        label: The class that is shown; new photos are added to it.
        components: All components, `label` first.
        render: Given the names of a lesson and of a class, returns the components' new values.
    """

    label: gr.Dropdown
    components: list[gr.Component]
    render: Callable[[str, str | None], list[Any]]


def build(store: LessonStore, lesson: gr.Dropdown, page: gr.Blocks) -> PhotosView:
    """Builds the part."""

    async def add_frame(frame: bytes, target: dict[str, Any]) -> dict[str, Any]:
        message = await asyncio.to_thread(_add_photo, store, str(target.get("lesson")), target.get("label"), frame)
        return {"message": message}

    with gr.Row(equal_height=False):
        with gr.Column():
            with gr.Row():
                name = gr.Textbox(label="New class", placeholder="cat", max_lines=1)
                add = gr.Button("Add class", scale=0, min_width=120, elem_classes="zoo-end")
            add_notice = error_notice()
            label = gr.Dropdown([], label="Add photos to", interactive=True)
            files = gr.Files(label="Photos", file_types=["image"], height=150)
            shots = camera(add_frame, idle="Or use the camera.", burst=_SHOTS, interval=_SECONDS_BETWEEN_SHOTS)
        with gr.Column():
            counts = gr.Markdown(elem_classes="zoo-facts")
            gallery = gr.Gallery(
                show_label=False,
                height=380,
                object_fit="cover",
                interactive=False,
                buttons=[],
                elem_classes="zoo-lesson",
            )
            with gr.Row(visible=False) as actions:
                remove = gr.Button("Remove photo", size="sm")
                remove_class = gr.Button("Remove class", size="sm", variant="stop")
            remove_notice = error_notice()
    components = [label, counts, gallery, actions]

    def render(lesson: str, label: str | None) -> list[Any]:
        classes = store.lesson(lesson).classes()
        current = label if label in classes else next(iter(classes), None)
        photos = store.lesson(lesson).photos(current)[:_MAX_THUMBNAILS] if current else []
        return [
            gr.Dropdown(choices=list(classes), value=current),
            _class_counts(classes),
            [str(each) for each in photos],
            gr.Row(visible=bool(classes)),
        ]

    view = PhotosView(label, components, render)
    _handle_adding(store, lesson, view, name=name, add=add, files=files, notice=add_notice)
    _handle_removing(
        store, lesson, view, gallery=gallery, remove=remove, remove_class=remove_class, notice=remove_notice
    )
    gr.on([page.load, lesson.change, label.input], show_errors(render), [lesson, label], components, **PRIVATE)
    gr.on([page.load, lesson.change, label.change], _retarget, [lesson, label], shots, **PRIVATE)
    shots.input(show_errors(render), [lesson, label], components, trigger_mode="always_last", **PRIVATE)
    return view


def require_class(label: Any) -> str:
    """Returns the name of a class that the page sent.

    Raises:
        UserError: There is none.
    """
    if not label or not isinstance(label, str):
        raise UserError("Add a class first.", title="No class")
    return label


def _handle_adding(
    store: LessonStore,
    lesson: gr.Dropdown,
    view: PhotosView,
    *,
    name: gr.Textbox,
    add: gr.Button,
    files: gr.Files,
    notice: gr.HTML,
) -> None:
    """Handles new classes and files."""

    def add_class(lesson: str, name: str) -> list[Any]:
        return ["", *view.render(lesson, store.lesson(lesson).add_class(name))]

    @show_errors
    def add_files(lesson: str, label: str | None, paths: list[str] | None) -> list[Any]:
        for path in map(Path, map(uploaded_file, paths or ())):
            try:
                store.lesson(lesson).add(require_class(label), path, name=path.name)
            except ImageError as error:  # the other files may be fine
                gr.Warning(escape_markup(error.message), title="Skipped")
        return [None, *view.render(lesson, label)]

    outputs = [name, *view.components]
    gr.on(
        [add.click, name.submit],
        show_errors_in_notice(add_class, outputs=len(outputs)),
        [lesson, name],
        [notice, *outputs],
        **PRIVATE,
    )
    files.upload(
        add_files,
        [lesson, view.label, files],
        [files, *view.components],
        show_progress_on=files,
        api_visibility="private",
    )


def _handle_removing(
    store: LessonStore,
    lesson: gr.Dropdown,
    view: PhotosView,
    *,
    gallery: gr.Gallery,
    remove: gr.Button,
    remove_class: gr.Button,
    notice: gr.HTML,
) -> None:
    """Handles the removal of photos and classes."""
    selected = gr.State(None)

    def remove_photo(lesson: str, label: str | None, index: int | None) -> list[Any]:
        photos = store.lesson(lesson).photos(require_class(label))
        if index is None or index >= len(photos):
            raise UserError("Select a photo first.", title="No photo selected")
        store.lesson(lesson).remove([photos[index]])
        return [None, *view.render(lesson, label)]

    def remove_all(lesson: str, label: str | None) -> list[Any]:
        store.lesson(lesson).remove_class(require_class(label))
        return [None, *view.render(lesson, None)]

    def select(event: gr.SelectData) -> Any:
        return event.index

    gallery.select(select, None, selected, **PRIVATE)
    outputs = [selected, *view.components]
    for button, handler, inputs in (
        (remove, remove_photo, [lesson, view.label, selected]),
        (remove_class, remove_all, [lesson, view.label]),
    ):
        button.click(show_errors_in_notice(handler, outputs=len(outputs)), inputs, [notice, *outputs], **PRIVATE)


@show_errors
def _add_photo(store: LessonStore, lesson: str, label: Any, photo: bytes) -> str:
    label = require_class(label)
    store.lesson(lesson).add(label, photo)
    return f"{store.lesson(lesson).classes()[label]} photos of {label}"


def _retarget(lesson: str, label: str | None) -> gr.HTML:
    return retarget(lesson=lesson, label=label)


def _class_counts(classes: dict[str, int]) -> str:
    if not classes:
        return "No classes yet. Add at least two, with ten photos or more each."
    return ", ".join(f"**{count}** {escape_markup(name)}" for name, count in classes.items())
