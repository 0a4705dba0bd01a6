"""The one way by which the zoo calls a plugin's code: whatever it raises becomes an error that names the plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from zoo.errors import PluginError, ZooError
from zoo.plugins.entry_points import import_target

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo.plugins.discovery import Plugin

T = TypeVar("T")
P = ParamSpec("P")


def lazy(target: str, *arguments: Any) -> Callable[..., Any]:
    """Returns a callable that imports its function when it is called: so that no spec imports a library.

    Where nothing is bound, a spec takes the string itself: ``build="zoo_tinynet.network:build"``.

    Args:
        target: ``"module:attribute"``.
        *arguments: Given to the function before those of the call.
    """

    def call(*more: Any) -> Any:
        return import_target(target)(*arguments, *more)

    call.__module__ = target.partition(":")[0].strip()
    return call


def resolve_callable(function: Callable[P, T] | str) -> Callable[P, T]:
    """Returns a spec's callable, which may be written ``"module:attribute"``; imports nothing yet."""
    return lazy(function) if isinstance(function, str) else function


def call_plugin(plugin: Plugin, doing: str, function: Callable[P, T] | str, *args: P.args, **kwargs: P.kwargs) -> T:
    """Calls code of a plugin and returns what it returns.

    Args:
        plugin: Whose code it is.
        doing: What it is asked to do, for the message of an error: ``"building 'tinynet'"``.
        function: The code, or ``"module:attribute"``.
        *args: Of the call.
        **kwargs: Of the call.

    Raises:
        ZooError: As the plugin raises it.
        PluginError: It raised anything else.
    """
    try:
        return resolve_callable(function)(*args, **kwargs)
    except (KeyboardInterrupt, ZooError):
        raise
    # As at loading: not even sys.exit() in a plugin may end the program.
    except BaseException as error:
        raise plugin_failure(plugin, doing, error) from error


def plugin_failure(plugin: Plugin, doing: str, reason: BaseException | str) -> PluginError:
    """Returns the error that says which plugin failed, at what and why."""
    if isinstance(reason, BaseException):
        reason = f"{type(reason).__name__}: {str(reason).strip()}".strip(": ")
    return PluginError(
        f"The plugin {plugin.key} failed while {doing}: {reason.removesuffix('.')}.",
        hint=f"Leave it out with ZOO_BLOCK_PLUGINS={plugin.key}, or report it to its author.",
    )
