"""The part of a lesson in which classes are named, and filled from files and from the camera."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr

from zoo.errors import ImageError
from zoo_demo.asking import PRIVATE, noted, notice, told
from zoo_demo.camera import aim, camera
from zoo_demo.photo_input import sent_file
from zoo_demo.plain import plain
from zoo_demo.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo_demo.teaching.desk import Desk

_SHOTS = 10
_SECONDS_BETWEEN_SHOTS = 0.3
_SHOWN = 60


class Shelf(NamedTuple):
    """What shows the photos of a lesson.

    Attributes:
        label: The class that is shown, and to which photos go.
        parts: All components, `label` first.
        view: Given the names of a lesson and of a class, returns what the components are to show.
    """

    label: gr.Dropdown
    parts: list[gr.Component]
    view: Callable[[str, str | None], list[Any]]


def build(desk: Desk, lesson: gr.Dropdown, page: gr.Blocks) -> Shelf:
    """Builds the part."""

    async def keep(frame: bytes, target: dict[str, Any]) -> dict[str, Any]:
        return {"told": await asyncio.to_thread(_kept, desk, str(target.get("lesson")), target.get("label"), frame)}

    with gr.Row(equal_height=False):
        with gr.Column():
            with gr.Row():
                name = gr.Textbox(label="New class", placeholder="cat", max_lines=1)
                add = gr.Button("Add class", scale=0, min_width=120, elem_classes="zoo-end")
            not_added = notice()
            label = gr.Dropdown([], label="Photos go to the class", interactive=True)
            files = gr.Files(label="Add photos", file_types=["image"], height=150)
            shots = camera(keep, idle="Or take photos with the camera.", burst=_SHOTS, pause=_SECONDS_BETWEEN_SHOTS)
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
                remove = gr.Button("Remove the chosen photo", size="sm")
                remove_class = gr.Button("Remove the class", size="sm", variant="stop")
            not_removed = notice()
    chosen = gr.State(None)
    parts = [label, counts, gallery, actions]

    def view(lesson_: str, label_: str | None) -> list[Any]:
        classes = desk.lesson(lesson_).classes()
        current = label_ if label_ in classes else next(iter(classes), None)
        photos = desk.lesson(lesson_).photos(current)[:_SHOWN] if current else []
        return [
            gr.Dropdown(choices=list(classes), value=current),
            _counted(classes),
            [str(each) for each in photos],
            gr.Row(visible=bool(classes)),
        ]

    _handle(desk, lesson, Shelf(label, parts, view), name=name, add=add, files=files, wrong=not_added)
    _handle_removal(desk, lesson, Shelf(label, parts, view), gallery, chosen, remove, remove_class, not_removed)
    gr.on([page.load, lesson.change, label.input], told(view), [lesson, label], parts, **PRIVATE)
    gr.on([page.load, lesson.change, label.change], _aimed, [lesson, label], shots, **PRIVATE)
    shots.input(told(view), [lesson, label], parts, trigger_mode="always_last", **PRIVATE)
    return Shelf(label, parts, view)


def _handle(
    desk: Desk,
    lesson: gr.Dropdown,
    shelf: Shelf,
    *,
    name: gr.Textbox,
    add: gr.Button,
    files: gr.Files,
    wrong: gr.HTML,
) -> None:
    """Lets classes be named, and filled from files."""

    def add_class(lesson_: str, name_: str) -> list[Any]:
        return ["", *shelf.view(lesson_, desk.lesson(lesson_).add_class(name_))]

    @told
    def add_files(lesson_: str, label_: str | None, paths: list[str] | None) -> list[Any]:
        for path in map(Path, map(sent_file, paths or ())):
            try:
                desk.lesson(lesson_).add(named(label_), path, name=path.name)
            except ImageError as error:  # the others are good
                gr.Warning(error.message, title="Left out")
        return [None, *shelf.view(lesson_, label_)]

    outputs = [name, *shelf.parts]
    named_ = noted(add_class, outputs=len(outputs))
    gr.on([add.click, name.submit], named_, [lesson, name], [wrong, *outputs], **PRIVATE)
    files.upload(
        add_files,
        [lesson, shelf.label, files],
        [files, *shelf.parts],
        show_progress_on=files,
        api_visibility="private",
    )


def _handle_removal(
    desk: Desk,
    lesson: gr.Dropdown,
    shelf: Shelf,
    gallery: gr.Gallery,
    chosen: gr.State,
    remove: gr.Button,
    remove_class: gr.Button,
    wrong: gr.HTML,
) -> None:
    """Lets photos and classes be removed."""

    def remove_photo(lesson_: str, label_: str | None, index: int | None) -> list[Any]:
        photos = desk.lesson(lesson_).photos(named(label_))
        if index is None or index >= len(photos):
            raise Refusal("Choose a photo first: click on it.", title="No photo chosen")
        desk.lesson(lesson_).remove([photos[index]])
        return [None, *shelf.view(lesson_, label_)]

    def remove_all(lesson_: str, label_: str | None) -> list[Any]:
        desk.lesson(lesson_).remove_class(named(label_))
        return [None, *shelf.view(lesson_, None)]

    def choose(event: gr.SelectData) -> Any:
        return event.index

    gallery.select(choose, None, chosen, **PRIVATE)
    outputs = [chosen, *shelf.parts]
    for button, handler, inputs in (
        (remove, remove_photo, [lesson, shelf.label, chosen]),
        (remove_class, remove_all, [lesson, shelf.label]),
    ):
        button.click(noted(handler, outputs=len(outputs)), inputs, [wrong, *outputs], **PRIVATE)


def named(label: Any) -> str:
    """Returns the name of a class that the page sent.

    Raises:
        Refusal: There is none.
    """
    if not label or not isinstance(label, str):
        raise Refusal("Add a class first.", title="No class")
    return label


@told
def _kept(desk: Desk, lesson: str, label: Any, photo: bytes) -> str:
    label = named(label)
    desk.lesson(lesson).add(label, photo)
    return f"{desk.lesson(lesson).classes()[label]} photos of {label}"


def _aimed(lesson: str, label: str | None) -> gr.HTML:
    return aim(lesson=lesson, label=label)


def _counted(classes: dict[str, int]) -> str:
    if not classes:
        return "No class yet: name two or more, and give each ten photos or more."
    return ", ".join(f"**{count}** {plain(name)}" for name, count in classes.items())
