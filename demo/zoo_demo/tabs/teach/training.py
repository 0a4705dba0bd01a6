"""The part of a lesson in which the training is begun, watched and stopped."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import gradio as gr
import pandas as pd

from zoo.cli.listing import list_entries
from zoo_demo.asking import PRIVATE, noted, notice, told

if TYPE_CHECKING:
    from zoo.plugins.registry import Registry
    from zoo_demo.teaching.desk import Desk
    from zoo_demo.teaching.training import Progress

_HEAD, _UPPER, _SCRATCH = "the head alone: seconds", "the upper layers too: minutes", "all of it, from scratch"
_EPOCHS = {_HEAD: 10, _UPPER: 5, _SCRATCH: 30}
_SECONDS_BETWEEN_LOOKS = 0.7
_WEIGHTS = "The head alone and the upper layers need pretrained weights: they are downloaded once, and kept."
_COLOURS = {"training": "#b45309", "validation": "#0f766e"}


def build(desk: Desk, lesson: gr.Dropdown, page: gr.Blocks, registry: Registry) -> None:
    """Builds the part."""
    with gr.Row():
        backbones, heads = (list_entries(registry, kinds=[kind]).entries for kind in ("backbones", "heads"))
        names = [each.name for each in backbones if not each.family]
        backbone = gr.Dropdown(names, value="resnet18", label="Backbone", allow_custom_value=True)
        head = gr.Dropdown([each.name for each in heads], value="linear", label="Head")
        how = gr.Dropdown(list(_EPOCHS), value=_HEAD, label="Train", min_width=240)
        epochs = gr.Number(_EPOCHS[_HEAD], label="Epochs", precision=0)
    gr.Markdown(_WEIGHTS, elem_classes="zoo-facts")
    with gr.Row():
        start = gr.Button("Train", variant="primary")
        stop = gr.Button("Stop", interactive=False)
    wrong = notice()
    status = gr.HTML(elem_classes="zoo-progress")
    with gr.Row(visible=False) as plots:
        accuracy = _plot("accuracy", y_lim=[0, 1])
        loss = _plot("loss")
    download = gr.DownloadButton("Download the ONNX file", visible=False)
    clock = gr.Timer(_SECONDS_BETWEEN_LOOKS, active=False)
    parts = [start, stop, status, plots, accuracy, loss, download, clock]

    @told
    def watch(lesson_: str) -> list[Any]:
        training = desk.training(lesson_)
        return _shown(None if training is None else training.progress)

    def begin(lesson_: str, backbone_: str, head_: str, how_: str, epochs_: int | None) -> list[Any]:
        desk.train(
            lesson_,
            backbone=backbone_,
            head=head_,
            head_alone=how_ == _HEAD,
            pretrained=how_ != _SCRATCH,
            epochs=epochs_ or _EPOCHS[how_],
        )
        return watch(lesson_)

    def end(lesson_: str) -> list[Any]:
        if training := desk.training(lesson_):
            training.stop()
        return watch(lesson_)

    how.input(lambda how_: _EPOCHS[how_], how, epochs, **PRIVATE)
    count = len(parts)
    start.click(noted(begin, outputs=count), [lesson, backbone, head, how, epochs], [wrong, *parts], **PRIVATE)
    stop.click(noted(end, outputs=count), lesson, [wrong, *parts], **PRIVATE)
    gr.on([clock.tick, page.load, lesson.change], watch, lesson, parts, **PRIVATE)


def _plot(what: str, **options: Any) -> gr.LinePlot:
    return gr.LinePlot(
        x="epoch",
        y=what,
        color="photos",
        color_map=_COLOURS,
        x_axis_format="~g",  # 1, not 1.0
        height=240,
        buttons=[],
        **options,
    )


def _shown(progress: Progress | None) -> list[Any]:
    """Returns what the components are to show of a training, or of none."""
    running = progress is not None and progress.running
    curves = _curves(progress.epochs if progress else ())
    file = progress.file if progress else None
    return [
        gr.Button(interactive=not running),
        gr.Button(interactive=running),
        _status(progress) if progress else "",
        gr.Row(visible=curves["epoch"].nunique() > 1),
        curves,
        curves,
        gr.DownloadButton(value=str(file) if file else None, visible=file is not None),
        gr.Timer(active=running),
    ]


def _status(progress: Progress) -> str:
    lines = [f"<p>{html.escape(progress.text)}</p>"]
    if progress.status == "training":
        lines.append(f'<progress max="1" value="{progress.share:.3f}" aria-label="Training"></progress>')
    elif progress.running:
        lines.append('<progress aria-label="At work"></progress>')
    if progress.error:
        lines.append(f'<pre class="zoo-error">{html.escape(progress.error)}</pre>')
    return "".join(lines)


def _curves(epochs: tuple[dict[str, Any], ...]) -> pd.DataFrame:
    rows = [
        (row["epoch"], row[f"{part}_accuracy"], row[f"{part}_loss"], name)
        for row in epochs
        for part, name in (("train", "training"), ("val", "validation"))
        if row[f"{part}_accuracy"] is not None
    ]
    return pd.DataFrame(rows, columns=["epoch", "accuracy", "loss", "photos"])
