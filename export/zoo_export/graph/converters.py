"""Runs exporters and quantisers of other packages: their output hidden, their exceptions as `ExportError`."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from typing import TYPE_CHECKING

from zoo.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_REASON = 300  # characters of an exporter's message


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Hides prints, warnings and log records inside a block; exceptions propagate."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def conversion(failure: str, *, hint: str) -> Iterator[None]:
    """Silences a block, and turns any exception of it into an `ExportError`.

    Args:
        failure: How the message begins: ``"The network cannot be quantised"``.
        hint: What to do next.

    Raises:
        ExportError: The block raised an exception: converters raise dozens of types.
    """
    try:
        with silence():
            yield
    except Exception as error:
        raise ExportError(f"{failure}: {describe_error(error)}.", hint=hint) from error


def describe_error(error: BaseException) -> str:
    """Returns the type and the first line of an exception, without a full stop."""
    reason = str(error).strip().partition("\n")[0][:_MAX_REASON].rstrip(". ")
    return f"{type(error).__name__}: {reason}"
