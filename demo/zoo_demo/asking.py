"""How a tab asks a model: errors become messages on the page, never a traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from zoo.errors import ImageError, ZooError
from zoo_demo.batcher import BusyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.prediction import Photo
    from zoo_demo.served import Answer, Served


async def ask(served: Served, photos: Sequence[tuple[str, Photo]]) -> Answer:
    """Returns what a model says to named photos.

    Raises:
        gr.Error: Too many wait, or the model fails; the page shows it.
    """
    try:
        return await served.predict(photos)
    except BusyError:
        raise gr.Error("Too many photos wait; try again in a second.", title="Busy") from None
    except ZooError as error:
        raise shown(error) from error


def shown(error: ZooError) -> gr.Error:
    """Returns an error as the page shows it."""
    title = "This photo cannot be read" if isinstance(error, ImageError) else "Error"
    return gr.Error(f"{error.message} {error.hint}".strip(), title=title, duration=None)
