"""How a tab asks a model: errors become messages on the page, never a traceback."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import gradio as gr

from zoo.errors import ImageError, ZooError
from zoo_demo.batcher import BusyError
from zoo_demo.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zoo.inference.predictor import Photo
    from zoo_demo.offer import Offer
    from zoo_demo.served import Answer, Served


P = ParamSpec("P")
R = TypeVar("R")

# Options of events that are the page's own: programs are not offered them, and nothing is dimmed meanwhile. They are
# answered as plain requests. Through gradio's queue, answers come in a stream that is closed when none is waited for:
# an event that begins while the news of that is under way waits for ever, and ours come in chains.
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
NO_MODEL = "There is no model yet: teach one, or start the demo with a run or a file."


async def ask(served: Served, photos: Sequence[tuple[str, Photo]]) -> Answer:
    """Returns what a model says to named photos.

    Raises:
        Refusal: Too many wait, or the model fails; the page shows it.
    """
    try:
        return await served.predict(photos)
    except BusyError:
        raise Refusal("Too many photos wait; try again in a second.", title="Busy") from None
    except ZooError as error:
        raise shown(error) from error


def shown(error: ZooError) -> Refusal:
    """Returns an error as the page shows it."""
    title = "This photo cannot be read" if isinstance(error, ImageError) else "Error"
    return Refusal(f"{error.message} {error.hint}".strip(), title=title, lasting=True)


def pick_model(offer: Offer, page: gr.Blocks, tab: gr.Tab) -> gr.Dropdown:
    """Builds the choice of a model; hidden while there is one alone. Models that were taught join it."""
    names = list(offer.served)
    model = gr.Dropdown(names, value=next(iter(names), None), label="Model", visible=len(names) > 1)

    def refresh(current: str | None) -> gr.Dropdown:
        names = list(offer.served)
        value = current if current in names else next(iter(names), None)
        return gr.Dropdown(choices=names, value=value, visible=len(names) > 1)

    gr.on([page.load, tab.select, model.focus], refresh, model, model, **PRIVATE)
    return model


def chosen(offer: Offer, name: str | None) -> Served:
    """Returns the model of a name that the page sent.

    Raises:
        Refusal: There is none.
    """
    if name not in offer.served:
        raise Refusal(NO_MODEL, title="No model")
    return offer.served[name]


def notice() -> gr.HTML:
    """Builds the place of an error beside what it is about, for `noted`."""
    return gr.HTML(elem_classes="zoo-notice")


def noted(handler: Callable[P, Sequence[Any]], *, outputs: int) -> Callable[P, list[Any]]:
    """Shows the errors of a handler in a notice, which is to be the first of the outputs.

    For `PRIVATE` events: gradio shows the errors of those alone that go through its queue.

    Args:
        handler: Returns what the other outputs are to show.
        outputs: How many others there are; an error leaves them as they are.
    """

    @functools.wraps(handler)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> list[Any]:
        try:
            return ["", *handler(*args, **kwargs)]
        except (ZooError, Refusal) as error:
            refusal = shown(error) if isinstance(error, ZooError) else error
            return [f'<p class="zoo-error" role="alert">{refusal.message}</p>', *[gr.skip()] * outputs]

    return guarded


def told(handler: Callable[P, R]) -> Callable[P, R]:
    """Shows the errors of a handler on the page."""

    @functools.wraps(handler)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return handler(*args, **kwargs)
        except ZooError as error:
            raise shown(error) from error

    return guarded
