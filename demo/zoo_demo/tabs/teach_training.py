"""The part of the Teach tab that starts, shows and stops a training."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import gradio as gr
import pandas as pd

from zoo.plugins import kinds
from zoo_demo.page.handlers import PRIVATE, error_notice, show_errors, show_errors_in_notice

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zoo.plugins.registry import Offer, Registry
    from zoo_demo.lessons.lesson_store import LessonStore
    from zoo_demo.lessons.training_process import TrainingProgress

_HEAD_ONLY, _UPPER_STAGES, _FROM_SCRATCH = (
    "Head only (seconds)",
    "Upper stages too (minutes)",
    "Everything, from scratch",
)
_EPOCHS = {_HEAD_ONLY: 10, _UPPER_STAGES: 5, _FROM_SCRATCH: 30}
_SECONDS_BETWEEN_UPDATES = 0.7
_WEIGHTS = "The first two options start from pretrained weights, which are downloaded once."
_COLOURS = {"training": "#b45309", "validation": "#0f766e"}


def build(store: LessonStore, lesson: gr.Dropdown, page: gr.Blocks, registry: Registry) -> None:
    """Builds the part."""
    with gr.Row():
        backbones, heads = (_names(registry.offers(kind)) for kind in (kinds.BACKBONE, kinds.HEAD))
        backbone = gr.Dropdown(backbones, value="resnet18", label="Backbone", allow_custom_value=True)
        head = gr.Dropdown(heads, value="linear", label="Head")
        extent = gr.Dropdown(list(_EPOCHS), value=_HEAD_ONLY, label="What to train", min_width=240)
        epochs = gr.Number(_EPOCHS[_HEAD_ONLY], label="Epochs", precision=0)
    gr.Markdown(_WEIGHTS, elem_classes="zoo-facts")
    with gr.Row():
        start = gr.Button("Train", variant="primary")
        stop = gr.Button("Stop", interactive=False)
    notice = error_notice()
    status = gr.HTML(elem_classes="zoo-progress")
    with gr.Row(visible=False) as plots:
        accuracy = _plot("accuracy", y_lim=[0, 1])
        loss = _plot("loss")
    download = gr.DownloadButton("Download ONNX file", visible=False)
    clock = gr.Timer(_SECONDS_BETWEEN_UPDATES, active=False)
    components = [start, stop, status, plots, accuracy, loss, download, clock]

    @show_errors
    def refresh(lesson: str) -> list[Any]:
        training = store.training(lesson)
        return _render(None if training is None else training.progress)

    def train(lesson: str, backbone: str, head: str, extent: str, epochs: int | None) -> list[Any]:
        store.train(
            lesson,
            backbone=backbone,
            head=head,
            head_only=extent == _HEAD_ONLY,
            pretrained=extent != _FROM_SCRATCH,
            epochs=epochs or _EPOCHS[extent],
        )
        return refresh(lesson)

    def stop_training(lesson: str) -> list[Any]:
        if training := store.training(lesson):
            training.stop()
        return refresh(lesson)

    extent.input(lambda extent: _EPOCHS[extent], extent, epochs, **PRIVATE)
    for button, handler, inputs in (
        (start, train, [lesson, backbone, head, extent, epochs]),
        (stop, stop_training, [lesson]),
    ):
        button.click(show_errors_in_notice(handler, outputs=len(components)), inputs, [notice, *components], **PRIVATE)
    gr.on([clock.tick, page.load, lesson.change], refresh, lesson, components, **PRIVATE)


def _names(offers: Iterable[Offer[Any]]) -> list[str]:
    """Returns a name that finds each offer: bare for built-in plugins unless an earlier one has it, else qualified."""
    names: dict[str, None] = {}
    for offer in offers:
        bare = offer.plugin.built_in and offer.spec.name not in names
        names[offer.spec.name if bare else offer.name] = None
    return list(names)


def _plot(metric: str, **options: Any) -> gr.LinePlot:
    return gr.LinePlot(
        x="epoch",
        y=metric,
        color="split",
        color_map=_COLOURS,
        x_axis_format="~g",  # 1, not 1.0
        height=240,
        buttons=[],
        **options,
    )


def _render(progress: TrainingProgress | None) -> list[Any]:
    """Returns the new values of the components for a training, or for none."""
    running = progress is not None and progress.running
    curves = _curves(progress.epochs if progress else ())
    file = progress.file if progress else None
    return [
        gr.Button(interactive=not running),
        gr.Button(interactive=running),
        _status_html(progress) if progress else "",
        gr.Row(visible=curves["epoch"].nunique() > 1),
        curves,
        curves,
        gr.DownloadButton(value=str(file) if file else None, visible=file is not None),
        gr.Timer(active=running),
    ]


def _status_html(progress: TrainingProgress) -> str:
    lines = [f"<p>{html.escape(progress.message)}</p>"]
    if progress.status == "training":
        lines.append(f'<progress max="1" value="{progress.fraction:.3f}" aria-label="Training"></progress>')
    elif progress.running:
        lines.append(f'<progress aria-label="{progress.status.capitalize()}"></progress>')
    if progress.error:
        lines.append(f'<pre class="zoo-error">{html.escape(progress.error)}</pre>')
    return "".join(lines)


def _curves(epochs: tuple[dict[str, Any], ...]) -> pd.DataFrame:
    rows = [
        (row["epoch"], row[f"{key}_accuracy"], row[f"{key}_loss"], split)
        for row in epochs
        for key, split in (("train", "training"), ("val", "validation"))
        if row[f"{key}_accuracy"] is not None
    ]
    return pd.DataFrame(rows, columns=["epoch", "accuracy", "loss", "split"])
