"""Uploaded photos: handed to the project's own decoder unchanged. Other files and URLs are rejected."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import gradio as gr
from gradio import processing_utils
from gradio.utils import get_upload_folder

from zoo_demo.page.handlers import UserError
from zoo_demo.temp_files import mark_used

if TYPE_CHECKING:
    from gradio.data_classes import ImageData


def photo_input(**options: Any) -> gr.Image:
    """Builds an input for a photo; handlers receive its path or its bytes.

    Gradio would decode the photo itself: differently than in training, without our limit on pixels, and with its own
    error messages.

    Args:
        options: Options of `gr.Image`.
    """
    component = gr.Image(type="filepath", image_mode=None, elem_classes="zoo-fitted", **options)
    component.preprocess = _pass_unchanged  # type: ignore[method-assign,assignment]
    return component


def guard_files() -> None:
    """Makes gradio reject, in this process, URLs and files that were not uploaded, wherever a request names them.

    Mounted into another application, gradio checks no path, and it would fetch any public URL.
    """
    processing_utils._check_allowed = _check_input
    processing_utils.async_ssrf_protected_download = _reject_url
    processing_utils.ssrf_protected_download = processing_utils.save_url_to_cache = _reject_url


def uploaded_file(path: str) -> str:
    """Returns the path of a file that was uploaded, or that the page has shown, and notes that it is in use.

    Gradio checks only paths that claim to be its own files.

    Raises:
        UserError: It is another file, or was deleted meanwhile.
    """
    file = Path(path).resolve()
    if not file.is_relative_to(Path(get_upload_folder()).resolve()):
        raise UserError("Files of the server are not accessible. Upload the photo instead.", title="No photo")
    if not file.is_file():
        raise UserError("The server no longer has this upload. Upload it again.", title="Upload expired")
    mark_used(file)
    return path


def decode_data_url(url: str) -> bytes:
    """Returns the content of a ``data:`` URL.

    Raises:
        UserError: It is not base64.
    """
    try:
        return base64.b64decode(url.partition(",")[2], validate=True)
    except binascii.Error:
        raise UserError("The photo is not valid base64.", title="Error") from None


def _pass_unchanged(payload: ImageData | None) -> str | bytes | None:
    if payload is None:
        return None
    if payload.url and payload.url.startswith("data:"):
        return decode_data_url(payload.url)
    return None if payload.path is None else uploaded_file(payload.path)


def _check_input(path: str | Path, check_in_upload_folder: bool) -> None:
    if check_in_upload_folder:  # an input; what the page itself shows may be anywhere
        uploaded_file(str(path))


def _reject_url(*_: object, **__: object) -> NoReturn:
    raise UserError("URLs are not fetched. Upload the photo instead.", title="No photo")
