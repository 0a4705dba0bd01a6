"""Where the page takes photos in: every one goes to the project's own image entrance, as it was sent."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, NoReturn

import gradio as gr
from gradio import processing_utils

if TYPE_CHECKING:
    from gradio.data_classes import ImageData


def photo_input(**options: Any) -> gr.Image:
    """Returns an input for a photo; handlers are given its file, or its bytes.

    Gradio would open it first, and convert what is not RGB: in another way than training did, without our limit of
    pixels and without our messages.

    Args:
        options: Of `gr.Image`.
    """
    photo = gr.Image(type="filepath", image_mode=None, **options)
    photo.preprocess = _as_sent  # type: ignore[method-assign,assignment]
    return photo


def refuse_addresses() -> None:
    """Makes gradio refuse addresses that are given for files, in this process; it would fetch any public one."""
    processing_utils.async_ssrf_protected_download = _refuse
    processing_utils.ssrf_protected_download = processing_utils.save_url_to_cache = _refuse


def _as_sent(payload: ImageData | None) -> str | bytes | None:
    if payload is None:
        return None
    if payload.url and payload.url.startswith("data:"):  # a frame of the camera
        try:
            return base64.b64decode(payload.url.partition(",")[2], validate=True)
        except binascii.Error:
            raise gr.Error("The photo is not what its address says: not base64.", title="Error") from None
    return None if payload.path is None else str(payload.path)


def _refuse(*_: object, **__: object) -> NoReturn:
    raise gr.Error("Addresses are not fetched: send the photo itself.", title="No photo")
