"""The tab on which a new classifier is taught: name classes, fill them, train, try, correct, train again.

What it shows is read from disk and from the training each time: a reloaded page finds all as it was.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import pandas as pd

from zoo.errors import ImageError
from zoo.listing import list_entries
from zoo_demo.asking import ask, shown, told
from zoo_demo.camera import aim, camera
from zoo_demo.photo_input import photo_input, sent_file
from zoo_demo.teaching.desk import Desk

if TYPE_CHECKING:
    from zoo.registry import Registry
    from zoo_demo.offer import Offer

_HEAD, _UPPER, _SCRATCH = "the head alone: seconds", "the upper layers too: minutes", "all of it, from scratch"
_FIRST = "my lesson"
_SECONDS_BETWEEN_LOOKS = 1.0
_SHOTS = 10
_SECONDS_BETWEEN_SHOTS = 0.3


def build(offer: Offer, page: gr.Blocks) -> None:
    """Builds the tab."""
    desk = Desk(offer)
    lesson = gr.Dropdown(
        [_FIRST, *desk.names()], value=_FIRST, label="Lesson", allow_custom_value=True, info="Kept under this name."
    )
    remembered = gr.BrowserState(_FIRST, storage_key="zoo-lesson")
    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    page.load(lambda name: name, remembered, lesson, **private)
    lesson.input(lambda name: name, lesson, remembered, **private)
    label, counts = _gather(desk, lesson, page)
    _train(desk, lesson, page, offer.registry)
    _try(desk, lesson, label, counts)


def _gather(desk: Desk, lesson: gr.Dropdown, page: gr.Blocks) -> tuple[gr.Dropdown, gr.Markdown]:
    """Builds the part where classes are named and filled."""
    gr.Markdown("### 1. Photos")

    async def keep(frame: bytes, target: dict[str, Any]) -> dict[str, Any]:
        return {"told": await asyncio.to_thread(_kept, desk, str(target.get("lesson")), target.get("label"), frame)}

    with gr.Row(equal_height=False):
        with gr.Column():
            with gr.Row():
                name = gr.Textbox(label="New class", placeholder="cat", max_lines=1)
                add = gr.Button("Add class", scale=0, min_width=120)
            label = gr.Dropdown([], label="Photos go to the class", interactive=True)
            files = gr.Files(label="Add photos", file_types=["image"], height=130)
            shots = camera(keep, burst=_SHOTS, pause=_SECONDS_BETWEEN_SHOTS)
        with gr.Column():
            counts = gr.Markdown(elem_classes="zoo-facts")
            gallery = gr.Gallery(label="Photos of the class", columns=5, height=340, interactive=False)
            with gr.Row():
                remove = gr.Button("Remove the chosen photo", size="sm")
                remove_class = gr.Button("Remove the class", size="sm", variant="stop")
    chosen = gr.State(None)
    views = [label, counts, gallery]

    def view(lesson_: str, label_: str | None) -> list[Any]:
        classes = desk.lesson(lesson_).classes()
        current = label_ if label_ in classes else next(iter(classes), None)
        photos = desk.lesson(lesson_).photos(current) if current else []
        return [gr.Dropdown(choices=list(classes), value=current), _counted(classes), [str(each) for each in photos]]

    @told
    def add_class(lesson_: str, name_: str) -> list[Any]:
        return ["", *view(lesson_, desk.lesson(lesson_).add_class(name_))]

    @told
    def add_files(lesson_: str, label_: str | None, paths: list[str] | None) -> list[Any]:
        for path in map(Path, map(sent_file, paths or ())):
            try:
                desk.lesson(lesson_).add(_class(label_), path, name=path.name)
            except ImageError as error:  # the others are good
                gr.Warning(error.message, title="Left out")
        return [None, *view(lesson_, label_)]

    @told
    def remove_photo(lesson_: str, label_: str | None, index: int | None) -> list[Any]:
        photos = desk.lesson(lesson_).photos(_class(label_))
        if index is None or index >= len(photos):
            raise gr.Error("Choose a photo first: click on it.", title="No photo chosen")
        desk.lesson(lesson_).remove([photos[index]])
        return [None, *view(lesson_, label_)]

    @told
    def remove_all(lesson_: str, label_: str | None) -> list[Any]:
        desk.lesson(lesson_).remove_class(_class(label_))
        return view(lesson_, None)

    def choose(event: gr.SelectData) -> Any:
        return event.index

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    gr.on([add.click, name.submit], add_class, [lesson, name], [name, *views], **private)
    gr.on([page.load, lesson.change], told(view), [lesson, label], views, **private)
    label.input(told(view), [lesson, label], views, **private)
    files.upload(add_files, [lesson, label, files], [files, *views], api_visibility="private")
    gr.on(
        [page.load, lesson.change, label.change],
        lambda lesson_, label_: aim(lesson=lesson_, label=label_),
        [lesson, label],
        shots,
        **private,
    )
    shots.input(told(view), [lesson, label], views, trigger_mode="always_last", **private)
    gallery.select(choose, None, chosen, **private)
    remove.click(remove_photo, [lesson, label, chosen], [chosen, *views], **private)
    remove_class.click(remove_all, [lesson, label], views, **private)
    return label, counts


def _train(desk: Desk, lesson: gr.Dropdown, page: gr.Blocks, registry: Registry) -> None:
    """Builds the part where the training is begun, watched and stopped."""
    gr.Markdown("### 2. Training")
    with gr.Row():
        backbones, heads = (list_entries(registry, kinds=[kind]).entries for kind in ("backbones", "heads"))
        names = [each.name for each in backbones if not each.family]
        backbone = gr.Dropdown(
            names, value="resnet18", label="Backbone", allow_custom_value=True, info="Or any other of 'zoo list'."
        )
        head = gr.Dropdown([each.name for each in heads], value="linear", label="Head")
        how = gr.Dropdown([_HEAD, _UPPER, _SCRATCH], value=_HEAD, label="Train")
    with gr.Row():
        start = gr.Button("Train", variant="primary")
        stop = gr.Button("Stop", interactive=False)
    status = gr.Markdown(elem_classes="zoo-facts")
    plot = gr.LinePlot(x="epoch", y="accuracy", color="part", y_lim=[0, 1], height=220, visible=False)
    download = gr.DownloadButton("Download the ONNX file", visible=False)
    clock = gr.Timer(_SECONDS_BETWEEN_LOOKS)
    views = [start, stop, status, plot, download]

    def watch(lesson_: str) -> list[Any]:
        training = desk.training(lesson_)
        if training is None:
            idle = gr.Button(interactive=True), gr.Button(interactive=False)
            return [*idle, "", gr.LinePlot(visible=False), gr.DownloadButton(visible=False)]
        progress = training.progress
        text = f"**{progress.share:.0%}** {progress.text}" if progress.status == "training" else progress.text
        return [
            gr.Button(interactive=not progress.running),
            gr.Button(interactive=progress.running),
            f"{text}\n\n{progress.error}".strip(),
            gr.LinePlot(value=_curves(progress.epochs), visible=len(progress.epochs) > 1),
            gr.DownloadButton(value=str(progress.file) if progress.file else None, visible=progress.file is not None),
        ]

    @told
    def begin(lesson_: str, backbone_: str, head_: str, how_: str) -> list[Any]:
        desk.train(lesson_, backbone=backbone_, head=head_, head_alone=how_ == _HEAD, pretrained=how_ != _SCRATCH)
        return watch(lesson_)

    @told
    def end(lesson_: str) -> list[Any]:
        if training := desk.training(lesson_):
            training.stop()
        return watch(lesson_)

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    start.click(begin, [lesson, backbone, head, how], views, **private)
    stop.click(end, lesson, views, **private)
    gr.on([clock.tick, page.load, lesson.change], told(watch), lesson, views, **private)


def _try(desk: Desk, lesson: gr.Dropdown, label: gr.Dropdown, counts: gr.Markdown) -> None:
    """Builds the part where what was taught is tried, and photos that it gets wrong are handed to their class."""
    gr.Markdown("### 3. Try it")
    with gr.Row(equal_height=False):
        photo = photo_input(label="Photo", sources=["upload", "webcam", "clipboard"], height=280)
        with gr.Column():
            says = gr.Label(label="What is to be seen", num_top_classes=5)
            correct = gr.Button("Add this photo to the class chosen above, to train again")

    async def classify(lesson_: str, sent: str | bytes | None) -> dict[str, float] | None:
        if sent is None:
            return None
        served = desk.served(lesson_)
        if served is None:
            raise gr.Error("Train first: there is nothing to try yet.", title="No model yet")
        outcome = (await ask(served, [("The photo", sent)])).outcomes[0]
        if isinstance(outcome, ImageError):
            raise shown(outcome)
        return outcome.probabilities

    @told
    def add(lesson_: str, label_: str | None, sent: str | bytes | None) -> str:
        if sent is None:
            raise gr.Error("There is no photo to add.", title="No photo")
        desk.lesson(lesson_).add(_class(label_), _content(sent))
        return _counted(desk.lesson(lesson_).classes())

    photo.change(classify, [lesson, photo], says, api_visibility="private")
    correct.click(add, [lesson, label, photo], counts, api_visibility="private")


@told
def _kept(desk: Desk, lesson: str, label: Any, photo: bytes) -> str:
    label = _class(label)
    desk.lesson(lesson).add(label, photo)
    return f"{desk.lesson(lesson).classes()[label]} photos of {label}"


def _class(label: str | None) -> str:
    if not label:
        raise gr.Error("Add a class first.", title="No class")
    return label


def _content(sent: str | bytes) -> Path | bytes:
    return sent if isinstance(sent, bytes) else Path(sent)


def _counted(classes: dict[str, int]) -> str:
    if not classes:
        return "No class yet: name two or more, and give each ten photos or more."
    return ", ".join(f"**{count}** {name}" for name, count in classes.items())


def _curves(epochs: tuple[dict[str, Any], ...]) -> pd.DataFrame:
    rows = [
        (row["epoch"], row[f"{part}_accuracy"], name)
        for row in epochs
        for part, name in (("train", "training"), ("val", "validation"))
        if row[f"{part}_accuracy"] is not None
    ]
    return pd.DataFrame(rows, columns=["epoch", "accuracy", "part"])
