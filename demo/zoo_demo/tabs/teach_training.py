"""The part of the Teach tab that starts, shows and stops a training."""

from __future__ import annotations

import html
import math
import time
from typing import TYPE_CHECKING, Any

import gradio as gr
import pandas as pd

from zoo.models.backbone_choice import FROM_SCRATCH, list_available_backbones, list_local_backbones
from zoo.plugins import kinds
from zoo.plugins.registry import shortest_names
from zoo_demo.page.handlers import (
    PRIVATE,
    UserError,
    error_notice,
    escape_markup,
    show_errors,
    show_errors_in_notice,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.plugins.registry import Registry
    from zoo_demo.lessons.lesson_store import LessonStore
    from zoo_demo.lessons.training_process import TrainingProgress

_HEAD_ONLY, _UPPER_STAGES, _FROM_SCRATCH = (
    "Head only (seconds)",
    "Upper stages too (minutes)",
    "Everything, from scratch",
)
_EPOCHS = {_HEAD_ONLY: 10, _UPPER_STAGES: 5, _FROM_SCRATCH: 30}
_SECONDS_BETWEEN_UPDATES = 0.7
_WEIGHTS = "The first two options start from pretrained weights; those of {local} are on this machine."
_NO_WEIGHTS = "No pretrained weights are on this machine."
_ONLINE = "Weights of other backbones are downloaded once."
_OFFLINE = "Others cannot be downloaded now."
_MOST_NAMES = 3
_SECONDS_BETWEEN_CHECKS = 60.0
_COLOURS = {"training": "#b45309", "validation": "#0f766e"}


def build(store: LessonStore, lesson: gr.Dropdown, page: gr.Blocks, registry: Registry) -> None:
    """Builds the part."""
    settings = _build_settings(registry)
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

    def train(lesson: str, backbone: str | None, head: str | None, extent: str | None, epochs: int | None) -> list[Any]:
        if not backbone or not head or not extent:
            raise UserError("Choose a backbone, a head, and what to train.", title="Nothing chosen")
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

    for button, handler, inputs in (
        (start, train, [lesson, *settings]),
        (stop, stop_training, [lesson]),
    ):
        button.click(show_errors_in_notice(handler, outputs=len(components)), inputs, [notice, *components], **PRIVATE)
    gr.on([clock.tick, page.load, lesson.change], refresh, lesson, components, **PRIVATE)


def _build_settings(registry: Registry) -> tuple[gr.Dropdown, gr.Dropdown, gr.Dropdown, gr.Number]:
    """Builds the choices of backbone, head, what to train, and epochs, and returns them."""
    backbones = BackboneChoices(registry)
    heads = list(shortest_names(registry.offers(kinds.HEAD)))
    local = list_local_backbones(registry)
    initial = _HEAD_ONLY if local else _FROM_SCRATCH
    with gr.Row():
        backbone = gr.Dropdown(
            local or backbones.names(initial),
            value=local[0] if local else FROM_SCRATCH,
            label="Backbone",
            allow_custom_value=True,
        )
        head = gr.Dropdown(heads, value="linear", label="Head")
        extent = gr.Dropdown(list(_EPOCHS), value=initial, label="What to train", min_width=240)
        epochs = gr.Number(_EPOCHS[initial], label="Epochs", precision=0)
    weights = gr.Markdown(_describe_weights(local), elem_classes="zoo-facts")

    def offer_backbones(extent: str | None) -> list[Any]:
        names = backbones.names(extent)
        return [gr.Dropdown(choices=names), backbones.describe()]

    extent.input(lambda extent: _EPOCHS.get(extent, gr.skip()), extent, epochs, **PRIVATE)
    # Not when the page is opened: only who looks for another backbone makes the server ask for downloads.
    gr.on([backbone.focus, extent.input], offer_backbones, extent, [backbone, weights], **PRIVATE)
    return backbone, head, extent, epochs


class BackboneChoices:
    """The backbones that can be trained here and now.

    Args:
        registry: The plugins.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._available: list[str] = []
        self._checked = -math.inf

    def names(self, extent: str | None) -> list[str]:
        """Returns all names for a training from scratch, otherwise those whose weights are here or can be downloaded.

        The latter takes up to five seconds without a network, once a minute.
        """
        if extent == _FROM_SCRATCH:
            return list(shortest_names(self._registry.offers(kinds.BACKBONE)))
        now = time.monotonic()
        if now - self._checked > _SECONDS_BETWEEN_CHECKS:
            self._available, self._checked = list_available_backbones(self._registry), now
        return self._available

    def describe(self) -> str:
        """Returns a sentence about the weights on this machine, and one about the others once they are looked for."""
        local = list_local_backbones(self._registry)
        if math.isinf(self._checked):
            return _describe_weights(local)
        return f"{_describe_weights(local)} {_ONLINE if set(self._available) - set(local) else _OFFLINE}"


def _describe_weights(local: Sequence[str]) -> str:
    more = f" and {len(local) - _MOST_NAMES} more" if len(local) > _MOST_NAMES else ""
    names = escape_markup(", ".join(local[:_MOST_NAMES]) + more)
    return _WEIGHTS.format(local=names) if local else _NO_WEIGHTS


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
