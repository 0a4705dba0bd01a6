"""Where the page takes photos in: every one goes to the project's own image entrance, as it was sent."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import gradio as gr
from gradio import processing_utils
from gradio.utils import get_upload_folder

from zoo_demo.refusal import Refusal

if TYPE_CHECKING:
    from gradio.data_classes import ImageData


def photo_input(**options: Any) -> gr.Image:
    """Returns an input for a photo; handlers are given its file, or its bytes.

    Gradio would open it first, and convert what is not RGB: in another way than training did, without our limit of
    pixels and without our messages.

    Args:
        options: Of `gr.Image`.
    """
    photo = gr.Image(type="filepath", image_mode=None, elem_classes="zoo-fitted", **options)
    photo.preprocess = _as_sent  # type: ignore[method-assign,assignment]
    return photo


def guard_files() -> None:
    """Makes gradio refuse, in this process, files that nobody sent and addresses, wherever they are given.

    Mounted into another application it checks no path, and it would fetch any public address.
    """
    processing_utils._check_allowed = _check_sent
    processing_utils.async_ssrf_protected_download = _refuse
    processing_utils.ssrf_protected_download = processing_utils.save_url_to_cache = _refuse


def _as_sent(payload: ImageData | None) -> str | bytes | None:
    if payload is None:
        return None
    if payload.url and payload.url.startswith("data:"):
        return decoded(payload.url)
    return None if payload.path is None else sent_file(payload.path)


def decoded(url: str) -> bytes:
    """Returns the bytes in a ``data:`` address.

    Raises:
        Refusal: They are not base64.
    """
    try:
        return base64.b64decode(url.partition(",")[2], validate=True)
    except binascii.Error:
        raise Refusal("The photo is not what its address says: not base64.", title="Error") from None


def sent_file(path: str) -> str:
    """Returns the path of a file that was uploaded, or that the page was given to show.

    Gradio checks the paths of those alone that say they are files of its own.

    Raises:
        Refusal: It is another file.
    """
    if not Path(path).resolve().is_relative_to(Path(get_upload_folder()).resolve()):
        raise Refusal("Files of the server are not read: send the photo itself.", title="No photo")
    return path


def _check_sent(path: str | Path, check_in_upload_folder: bool) -> None:
    if check_in_upload_folder:  # it is an input; what we give to show may lie anywhere
        sent_file(str(path))


def _refuse(*_: object, **__: object) -> NoReturn:
    raise Refusal("Addresses are not fetched: send the photo itself.", title="No photo")
