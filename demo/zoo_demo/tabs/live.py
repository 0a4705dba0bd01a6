"""The tab on which the camera's picture is classified as it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from zoo.errors import ImageError
from zoo_demo.asking import PRIVATE, ask, chosen, pick_model, shown
from zoo_demo.camera import aim, camera

if TYPE_CHECKING:
    from zoo_demo.offer import Offer

_IDLE = "Start the camera, and point it at something: the probabilities follow what it sees."
_SECONDS_BETWEEN_FRAMES = 0.06  # smooth to the eye, and it leaves something for others


def build(offer: Offer, page: gr.Blocks, tab: gr.Tab) -> None:
    """Builds the tab."""
    model = pick_model(offer, page, tab)

    async def look(frame: bytes, target: dict[str, Any]) -> dict[str, Any]:
        served = chosen(offer, str(target.get("model")))
        answer = await ask(served, [("The frame", frame)])
        outcome = answer.outcomes[0]
        if isinstance(outcome, ImageError):
            raise shown(outcome)
        times = f"{answer.read_ms:.0f} to read it, {answer.model_ms:.0f} for the model; {served.predictor.runtime}"
        return {"probabilities": outcome.probabilities, "told": times}

    view = camera(look, idle=_IDLE, pause=_SECONDS_BETWEEN_FRAMES, model=model.value)
    gr.on([page.load, model.change], lambda name: aim(model=name), model, view, **PRIVATE)
