"""The camera of the page: sends its newest frame, and the next one only after the response.

Gradio's own camera sends a frame every so often, whether the previous one has arrived or not: frames pile up on a slow
connection. Here they cannot, and viewers share batches instead of places in a queue.
"""

from __future__ import annotations

from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from zoo_demo.models.batcher import BusyError, ConcurrencyLimit
from zoo_demo.page.handlers import UserError
from zoo_demo.page.uploads import decode_data_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_SCRIPT = Path(__file__).with_name("camera.js").read_text(encoding="utf-8")
_TEMPLATE = """
<div class="zoo-camera" data-burst="{burst}" data-interval="{interval}">
  <div>
    <video data-part="video" playsinline muted aria-label="Camera preview"></video>
    <div class="zoo-controls">
      <button data-part="switch">Start camera</button>
      <button data-part="shoot" hidden></button>
      <select data-part="devices" aria-label="Camera" hidden></select>
    </div>
  </div>
  <div>
    <ol data-part="bars" class="zoo-bars"></ol>
    <p data-part="facts" class="zoo-facts"></p>
    <p data-part="status" class="zoo-facts" role="status">{idle}</p>
  </div>
</div>
"""
_MAX_CONCURRENT = 64  # frames of all viewers that are read, queued or computed at a time


def camera(
    handler: Callable[[bytes, dict[str, Any]], Awaitable[dict[str, Any]]],
    *,
    idle: str = "",
    burst: int = 0,
    interval: float,
    **target: Any,
) -> gr.HTML:
    """Builds a camera.

    Args:
        handler: Receives the bytes of a frame and the current `target`. Returns ``probabilities``, shown as bars that
            fade from frame to frame, or a ``message``, or both. The page shows the `gr.Error` that it raises.
        idle: Text to show before the camera starts.
        burst: Number of frames to take when a button is pressed; the event ``input`` follows each. 0: take frames
            continuously.
        interval: Seconds from one frame to the next, at least.
        target: What the frames are for; `retarget` changes it.
    """
    limit = ConcurrencyLimit(_MAX_CONCURRENT)

    async def frame(request: Any) -> dict[str, Any]:
        try:
            with limit.slot():
                return await handler(_decode_frame(request), request)
        except gr.Error as error:
            return {"error": unescape(error.message)}  # the script shows it as text, not as HTML
        except BusyError:
            return {"error": "The server is busy."}

    return gr.HTML(
        html_template=_TEMPLATE.format(idle=idle, burst=burst, interval=1000 * interval),
        js_on_load=_SCRIPT,
        apply_default_css=False,
        server_functions=[frame],
        target=target,
    )


def retarget(**target: Any) -> gr.HTML:
    """Returns the update that changes the target of a camera."""
    return gr.HTML(target=target)


def _decode_frame(request: Any) -> bytes:
    url = request.get("photo") if isinstance(request, dict) else None
    if not isinstance(url, str) or not url.startswith("data:"):
        raise UserError("The frame contains no photo.", title="No photo")
    return decode_data_url(url)
