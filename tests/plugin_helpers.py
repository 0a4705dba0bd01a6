"""Plugins and callables made up for tests. Imports no torch."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

import zoo

if TYPE_CHECKING:
    from collections.abc import Callable


def plugin_of(**hooks: Callable[..., Any]) -> SimpleNamespace:
    """Returns a plugin with these hooks."""
    return SimpleNamespace(**{name: zoo.hookimpl(hook) for name, hook in hooks.items()})


def raising(error: BaseException) -> Callable[..., NoReturn]:
    """Returns a function that raises the error, whatever its arguments."""

    def call(*_: Any) -> NoReturn:
        raise error

    return call
