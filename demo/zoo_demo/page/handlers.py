"""What the tabs' event handlers share: the choice of a model, predictions, and errors as messages on the page."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import gradio as gr

from zoo.errors import ImageError, ZooError
from zoo.utils.text import printable
from zoo_demo.models.batcher import BusyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zoo.data.images.photo import Photo
    from zoo.inference.predictor import Prediction
    from zoo_demo.models.model_pool import ModelPool
    from zoo_demo.models.served_model import ServedModel, TimedOutcomes

P = ParamSpec("P")
R = TypeVar("R")

# Options of events that belong to the page: not part of its API, no progress shown, sent as plain requests. Through
# gradio's queue, responses come in a stream that closes when no event is pending. An event that starts just then waits
# forever, and these events trigger one another.
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
NO_MODEL = "No model is loaded. Teach one, or start the demo with a run or an exported file."


class UserError(gr.Error):
    """An error that the page shows and the server does not log: the cause is the visitor's input.

    Args:
        message: What is wrong, and what to do. Shown literally, although gradio would render HTML.
        title: Two or three words.
        persistent: Whether it stays until it is closed.
    """

    def __init__(self, message: str, *, title: str, persistent: bool = False) -> None:
        super().__init__(
            escape_markup(message), title=title, duration=None if persistent else 10, print_exception=False
        )

    @classmethod
    def from_error(cls, error: ZooError) -> UserError:
        """Returns an error of the library as the page shows it."""
        title = "Unreadable photo" if isinstance(error, ImageError) else "Error"
        return cls(f"{error.message} {error.hint}".strip(), title=title, persistent=True)


def escape_markup(text: str) -> str:
    """Returns text that Markdown and HTML show literally, without markup, links or remote images.

    Names of files, classes and models may come from anyone, and gradio renders Markdown or HTML in most places.
    """
    return "".join(c if c.isalnum() or c in " ,.:;" else f"&#{ord(c)};" for c in printable(text))


def select_model(pool: ModelPool, page: gr.Blocks, tab: gr.Tab) -> gr.Dropdown:
    """Builds the choice of a model, hidden while there is only one. Models trained meanwhile are added."""
    names = list(pool.models)
    dropdown = gr.Dropdown(names, value=next(iter(names), None), label="Model", visible=len(names) > 1)

    def refresh(current: str | None) -> gr.Dropdown:
        names = list(pool.models)
        value = current if current in names else next(iter(names), None)
        return gr.Dropdown(choices=names, value=value, visible=len(names) > 1)

    gr.on([page.load, tab.select, dropdown.focus], refresh, dropdown, dropdown, **PRIVATE)
    return dropdown


def require_model(pool: ModelPool, name: str | None) -> ServedModel:
    """Returns the model of a name that the page sent.

    Raises:
        UserError: There is none.
    """
    if name not in pool.models:
        raise UserError(NO_MODEL, title="No model")
    return pool.models[name]


async def predict_photo(
    model: ServedModel, photo: Photo, *, name: str = "The photo"
) -> tuple[Prediction, TimedOutcomes]:
    """Classifies one photo, and returns the times too.

    Raises:
        UserError: The photo cannot be read, the server is busy, or the model failed.
    """
    try:
        result = await model.predict([(name, photo)])
    except BusyError:
        raise UserError("The server is busy. Try again in a second.", title="Busy") from None
    except ZooError as error:
        raise UserError.from_error(error) from error
    outcome = result.outcomes[0]
    if isinstance(outcome, ZooError):
        raise UserError.from_error(outcome)
    return outcome, result


def show_errors(handler: Callable[P, R]) -> Callable[P, R]:
    """Decorates a handler: its errors pop up on the page. For events that go through gradio's queue."""

    @functools.wraps(handler)
    def decorated(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return handler(*args, **kwargs)
        except ZooError as error:
            raise UserError.from_error(error) from error

    return decorated


def error_notice() -> gr.HTML:
    """Builds a place for an error next to what it concerns; see `show_errors_in_notice`."""
    return gr.HTML(elem_classes="zoo-notice")


def show_errors_in_notice(handler: Callable[P, Sequence[Any]], *, outputs: int) -> Callable[P, list[Any]]:
    """Decorates a handler: its errors appear in an `error_notice`, which must be the event's first output.

    For `PRIVATE` events: gradio shows errors only of events that go through its queue.

    Args:
        handler: Returns the values of the other outputs.
        outputs: The number of other outputs; an error leaves them unchanged.
    """

    @functools.wraps(handler)
    def decorated(*args: P.args, **kwargs: P.kwargs) -> list[Any]:
        try:
            return ["", *handler(*args, **kwargs)]
        except (ZooError, UserError) as error:
            user_error = UserError.from_error(error) if isinstance(error, ZooError) else error
            return [f'<p class="zoo-error" role="alert">{user_error.message}</p>', *[gr.skip()] * outputs]

    return decorated
