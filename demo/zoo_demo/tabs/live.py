"""The tab on which the camera's picture is classified as it comes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import gradio as gr
import numpy as np

from zoo.errors import ImageError
from zoo_demo.asking import ask, chosen, pick_model
from zoo_demo.photo_input import photo_input

if TYPE_CHECKING:
    from zoo_demo.offer import Offer

_SECONDS_BETWEEN_FRAMES = 0.1
_SECONDS_A_STREAM = 300.0
_MEMORY = 0.6  # seconds in which an old frame fades to 1/e
_VIEWERS = 16


@dataclass(slots=True)
class _Seen:
    """What one viewer's camera has shown so far."""

    model: str = ""
    at: float = 0.0
    probabilities: dict[str, float] = field(default_factory=dict)
    frames_per_second: float = 0.0

    def take(self, model: str, probabilities: dict[str, float]) -> None:
        """Blends a frame in: each new one weighs the more, the longer the last one is ago."""
        now = time.monotonic()
        passed, self.at = now - self.at, now
        if model != self.model or passed > 5:
            self.model, self.probabilities, self.frames_per_second = model, probabilities, 0.0
            return
        weight = 1 - float(np.exp(-passed / _MEMORY))
        self.probabilities = {
            name: (1 - weight) * self.probabilities.get(name, 0.0) + weight * p for name, p in probabilities.items()
        }
        rate = 1 / max(passed, 1e-3)
        self.frames_per_second = rate if not self.frames_per_second else 0.8 * self.frames_per_second + 0.2 * rate


def build(offer: Offer, page: gr.Blocks) -> None:
    """Builds the tab."""
    model = pick_model(offer, page)
    seen = gr.State(None)
    with gr.Row(equal_height=False):
        camera = photo_input(label="Camera", sources=["webcam"], streaming=True, height=360)
        with gr.Column():
            label = gr.Label(label="What is to be seen", num_top_classes=5)
            facts = gr.Markdown("Press the record button, and allow the camera.", elem_classes="zoo-facts")

    async def look(
        frame: str | bytes | None, name: str, so_far: _Seen | None
    ) -> tuple[_Seen | None, dict[str, float] | None, str]:
        if frame is None:
            return so_far, None, "Press the record button, and allow the camera."
        served = chosen(offer, name)
        answer = await ask(served, [("The frame", frame)])
        outcome = answer.outcomes[0]
        if isinstance(outcome, ImageError):
            return so_far, None, outcome.message
        so_far = so_far or _Seen()
        so_far.take(name, outcome.probabilities)
        return (
            so_far,
            so_far.probabilities,
            (f"**{so_far.frames_per_second:.1f}** frames a second, **{answer.read_ms + answer.model_ms:.0f} ms** each"),
        )

    camera.stream(
        look,
        [camera, model, seen],
        [seen, label, facts],
        stream_every=_SECONDS_BETWEEN_FRAMES,
        time_limit=_SECONDS_A_STREAM,
        concurrency_limit=_VIEWERS,
        concurrency_id="live",
        show_progress="hidden",
        api_visibility="private",
    )
