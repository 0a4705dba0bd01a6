"""The camera of the page: hands over its newest frame, and the next one only once that one is answered.

Gradio's own camera sends a frame every so often, whether the last one has arrived or not: over a slow line frames pile
up in the browser. Here nothing can pile up, and viewers share batches instead of places in a queue.
"""

from __future__ import annotations

from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from zoo_demo.api import Gate
from zoo_demo.batcher import BusyError
from zoo_demo.photo_input import decoded
from zoo_demo.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_SCRIPT = Path(__file__).with_name("camera.js").read_text(encoding="utf-8")
_PICTURE = """
<div class="zoo-camera" data-burst="{burst}" data-pause="{pause}">
  <div>
    <video data-part="video" playsinline muted aria-label="The camera's picture"></video>
    <div class="zoo-controls">
      <button data-part="switch">Start the camera</button>
      <button data-part="shoot" hidden></button>
      <select data-part="devices" aria-label="Which camera" hidden></select>
    </div>
  </div>
  <div>
    <ol data-part="bars" class="zoo-bars"></ol>
    <p data-part="facts" class="zoo-facts"></p>
    <p data-part="told" class="zoo-facts" role="status">{idle}</p>
  </div>
</div>
"""
_MOST_AT_ONCE = 64  # frames of all viewers that are read, queued or computed at a time


def camera(
    take: Callable[[bytes, dict[str, Any]], Awaitable[dict[str, Any]]],
    *,
    idle: str = "",
    burst: int = 0,
    pause: float,
    **target: Any,
) -> gr.HTML:
    """Returns a camera.

    Args:
        take: Given the bytes of a frame and the `target` of the moment. Answers with ``probabilities``, shown as bars
            and faded from frame to frame, and with ``told``, a line of text. What it raises as `gr.Error` is shown.
        idle: What to say before it is started.
        burst: Frames that a press of a button takes, each followed by the event ``input``; 0: frame follows frame.
        pause: Seconds from one frame to the next, at least.
        target: What the frames are for; `aim` changes it.
    """
    gate = Gate(_MOST_AT_ONCE)

    async def frame(sent: Any) -> dict[str, Any]:
        try:
            with gate.entered():
                return await take(_photo(sent), sent)
        except gr.Error as error:
            return {"error": unescape(error.message)}  # shown as text, not as HTML
        except BusyError:
            return {"error": "Too many frames wait."}

    return gr.HTML(
        html_template=_PICTURE.format(idle=idle, burst=burst, pause=1000 * pause),
        js_on_load=_SCRIPT,
        apply_default_css=False,
        server_functions=[frame],
        target=target,
    )


def aim(**target: Any) -> gr.HTML:
    """Returns the update that tells a camera what its frames are for from now on."""
    return gr.HTML(target=target)


def _photo(sent: Any) -> bytes:
    photo = sent.get("photo") if isinstance(sent, dict) else None
    if not isinstance(photo, str) or not photo.startswith("data:"):
        raise Refusal("There is no photo in this frame.", title="No photo")
    return decoded(photo)
