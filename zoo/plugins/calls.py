"""Calls code of a plugin. Any exception becomes a `PluginError` that names the plugin."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

from zoo.errors import PluginError, ZooError
from zoo.plugins.entry_points import import_target
from zoo.plugins.supervision import supervised
from zoo.utils.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager


_MAX_REASON = 500  # characters of an exception's own text; some print a whole tensor
T = TypeVar("T")
P = ParamSpec("P")


class NamedPlugin(Protocol):
    """What a call needs to know of a plugin: a `zoo.plugins.discovery.Plugin`, or one that is still being loaded."""

    @property
    def key(self) -> str:
        """``distribution:entry``."""

    @property
    def built_in(self) -> bool:
        """Whether it is part of this distribution."""


def lazy(target: str, *arguments: Any) -> Callable[..., Any]:
    """Returns a function that imports `target` and calls it, with `arguments` first, like `functools.partial`.

    It lets a spec bind arguments without importing a library. A spec that binds none takes the string itself:
    ``build="zoo_tinynet.network:build"``.

    Args:
        target: ``"module:attribute"``.
        *arguments: The first arguments of each call.

    Returns:
        The function. A call raises `ImportError`, which names the target, if the target cannot be imported.
    """

    def call(*more: Any) -> Any:
        return _import(target)(*arguments, *more)

    call.__module__ = target.partition(":")[0].strip()
    return call


def resolve_callable(function: Callable[P, T] | str) -> Callable[P, T]:
    """Returns a spec's callable; for ``"module:attribute"``, a function that imports it when called (see `lazy`)."""
    return lazy(function) if isinstance(function, str) else function


def call_plugin(
    plugin: NamedPlugin, action: str, function: Callable[P, T] | str, *args: P.args, **kwargs: P.kwargs
) -> T:
    """Calls code of a plugin and returns the result.

    Args:
        plugin: The plugin that the code belongs to.
        action: What the code does, for error messages: ``"building 'tinynet'"``.
        function: The code, or ``"module:attribute"``.
        *args: Positional arguments of the call.
        **kwargs: Keyword arguments of the call.

    Raises:
        ZooError: The plugin raised it.
        PluginError: The plugin raised anything else, or the function cannot be imported.
    """
    try:
        with watched(plugin, action):
            return resolve_callable(function)(*args, **kwargs)
    except (KeyboardInterrupt, ZooError):
        raise
    # BaseException, as when plugins are loaded: not even sys.exit() in a plugin may end the program.
    except BaseException as error:
        raise plugin_failure(plugin, action, error) from error


def call_within(seconds: float, function: Callable[[], T]) -> T:
    """Calls a function in a thread of its own, and returns its result or raises its exception.

    Raises:
        TimeoutError: There is no result in time. The thread goes on, but does not keep the process alive.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"it did not return within {seconds:g} s")
    return results[0]


def watched(plugin: NamedPlugin, action: str) -> AbstractContextManager[None]:
    """Returns a context that supervises code of a third-party plugin; the contract kit has tested the built-in ones."""
    return contextlib.nullcontext() if plugin.built_in else supervised(plugin.key, action)


def describe_exception(error: BaseException) -> str:
    """Returns the type of an exception and its text: on one line, not too long, even if it has no valid text."""
    try:
        text = one_line(str(error).strip())
    except Exception:  # of its own __str__
        text = "it has no text"
    shown = text if len(text) <= _MAX_REASON else f"{text[:_MAX_REASON]}..."
    return f"{type(error).__name__}: {shown}".strip(": ")


def plugin_failure(plugin: NamedPlugin, action: str, reason: BaseException | str) -> PluginError:
    """Returns the error that says which plugin failed, while doing what, and why."""
    if isinstance(reason, BaseException):
        reason = describe_exception(reason)
    return PluginError(
        f"The plugin {plugin.key} failed while {action}: {reason.removesuffix('.')}.",
        hint=f"Leave it out with ZOO_BLOCK_PLUGINS={plugin.key}, or report it to its author.",
    )


def _import(target: str) -> Any:
    try:
        return import_target(target)
    except ZooError:
        raise
    except Exception as error:
        # The cause may be deep in the module's own imports, so the message names the target as well.
        raise ImportError(f"cannot import '{target}': {type(error).__name__}: {error}") from error
