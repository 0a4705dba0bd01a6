"""Loads plugins, each on its own: a plugin that fails is listed with its error and does not affect the others.

pluggy calls the hooks. `zoo.plugins.entry_points` finds and names the plugins, because in
`PluginManager.load_setuptools_entrypoints` one failing import aborts all, and the second of two entry points with the
same name is silently dropped.
"""

from __future__ import annotations

import functools
import re
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from zoo.errors import PluginError, did_you_mean
from zoo.plugins import hookspecs
from zoo.plugins.calls import describe_exception, watched
from zoo.plugins.entry_points import BLOCK_VARIABLE, BUILT_IN, is_blocked
from zoo.plugins.kinds import KINDS, Kind, find_field_fault
from zoo.plugins.specs import Family, Spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import pluggy

    from zoo.plugins.entry_points import Candidate

S = TypeVar("S", bound=Spec)
_NAME = re.compile(r"[a-z0-9][a-z0-9_.\-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """An installed plugin: what it offers, or why it cannot be used.

    Attributes:
        key: ``distribution:entry``.
        qualifier: The part before the slash in qualified names.
        distribution: The distribution that declares it.
        version: Version of the distribution.
        built_in: Whether it is part of this distribution.
        offers: Specs and families by the name of their kind; empty if the plugin failed.
        add_commands: Adds the plugin's commands to a click group, or None.
        error: Why the plugin is not used, or None.
        details: The traceback of `error`, or empty.
        blocked: Whether ``ZOO_BLOCK_PLUGINS`` blocks it.
    """

    key: str
    qualifier: str
    distribution: str
    version: str
    built_in: bool = False
    offers: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    add_commands: Callable[[Any], None] | None = field(default=None, repr=False)
    error: str | None = None
    details: str = field(default="", repr=False)
    blocked: bool = False

    def specs(self, kind: Kind[S]) -> tuple[S, ...]:
        """Returns the specs of a kind; members of families are not among them."""
        return tuple(offer for offer in self.offers.get(kind.name, ()) if isinstance(offer, kind.spec))

    def families(self, kind: Kind[Any]) -> tuple[Family, ...]:
        """Returns the families of a kind."""
        return tuple(offer for offer in self.offers.get(kind.name, ()) if isinstance(offer, Family))


def load_plugins(candidates: Iterable[Candidate], *, blocked: frozenset[str] = frozenset()) -> tuple[Plugin, ...]:
    """Imports each candidate and calls its hooks.

    Args:
        candidates: The plugins, in the order in which bare names resolve.
        blocked: Keys, entry names or distributions to leave out.

    Returns:
        One `Plugin` per candidate, in the same order: loaded, blocked or failed.
    """
    plugins: list[Plugin] = []
    for candidate in candidates:
        plugin = _load_plugin(candidate, blocked)
        conflict = _find_conflict(plugin, plugins)
        plugins.append(_failed_plugin(candidate, conflict) if conflict else plugin)
    return tuple(plugins)


def _load_plugin(candidate: Candidate, blocked: frozenset[str]) -> Plugin:
    if is_blocked(candidate, blocked):
        return _failed_plugin(candidate, f"blocked by {BLOCK_VARIABLE}", blocked=True)
    if not candidate.built_in and candidate.qualifier in BUILT_IN:
        return _failed_plugin(candidate, f"the name '{candidate.qualifier}' belongs to a built-in plugin")
    try:
        with watched(candidate, "loading"):
            return _call_hooks(candidate, candidate.load())
    except PluginError as error:
        return _failed_plugin(candidate, str(error))
    except KeyboardInterrupt:
        raise
    # BaseException: a plugin that calls sys.exit() at import, or panics in Rust, must not end the program.
    except BaseException as error:
        return _failed_plugin(candidate, describe_exception(error), details=traceback.format_exc())


def _call_hooks(candidate: Candidate, plugin: object) -> Plugin:
    """Calls the hooks of one plugin that return offers; raises whatever they raise."""
    manager = hookspecs.register(plugin, name=candidate.key)
    _refuse_unknown_hooks(manager, plugin)
    offers = {kind.name: _collect_offers(manager, kind) for kind in KINDS}
    implemented = {caller.name for caller in manager.get_hookcallers(plugin) or ()}
    if not implemented:
        raise PluginError(f"it implements no hook; mark one of {', '.join(sorted(_hook_names()))} with zoo.hookimpl")
    return Plugin(
        key=candidate.key,
        qualifier=candidate.qualifier,
        distribution=candidate.distribution,
        version=candidate.version,
        built_in=candidate.built_in,
        offers=offers,
        add_commands=functools.partial(_add_commands, manager) if "zoo_commands" in implemented else None,
    )


def _hook_names() -> set[str]:
    return {name for name in vars(hookspecs) if name.startswith("zoo_")}


def _refuse_unknown_hooks(manager: pluggy.PluginManager, plugin: object) -> None:
    known = _hook_names()
    marked = {caller.name for caller in manager.get_hookcallers(plugin) or ()}
    # pluggy silently ignores misspelt hooks, and functions that are named like a hook but lack the marker.
    functions = {name for name in dir(plugin) if name.startswith("zoo_") and callable(getattr(plugin, name, None))}
    for name in sorted((marked | functions) - known):
        advice = did_you_mean(name, known) or f"The hooks are {', '.join(sorted(known))}."
        raise PluginError(f"there is no hook '{name}'. {advice}")
    for name in sorted(functions - marked):
        raise PluginError(f"its hook '{name}' lacks the decorator @zoo.hookimpl")


def _collect_offers(manager: pluggy.PluginManager, kind: Kind[Any]) -> tuple[Any, ...]:
    # A list of results, because `hookimpl(specname=...)` lets one plugin implement a hook twice.
    caller = getattr(manager.hook, kind.hook)
    results = caller()
    for result in results:
        if not isinstance(result, (list, tuple)):
            raise PluginError(f"{kind.hook} returned {type(result).__name__}, not a list")
    if len(results) < len(caller.get_hookimpls()):  # pluggy drops None
        raise PluginError(f"{kind.hook} returned None, not a list")
    offers = tuple(offer for result in results for offer in result)
    names: set[tuple[type[Any], str]] = set()
    for offer in offers:
        _check_offer(offer, kind)
        if (type(offer), offer.name) in names:
            raise PluginError(f"{kind.hook} offers '{offer.name}' twice")
        names.add((type(offer), offer.name))
    return offers


def _check_offer(offer: Any, kind: Kind[Any]) -> None:
    if not isinstance(offer, kind.accepted_types):
        expected = " or ".join(accepted.__name__ for accepted in kind.accepted_types)
        raise PluginError(f"{kind.hook} returned a list that contains {type(offer).__name__}, not {expected}")
    if not isinstance(offer.name, str) or not _NAME.fullmatch(offer.name):
        raise PluginError(f"{kind.hook} offers {offer.name!r}: names consist of lower-case letters, digits and _ . -")
    if fault := kind.find_fault(offer) if isinstance(offer, kind.spec) else find_field_fault(offer):
        raise PluginError(f"{kind.hook} offers '{offer.name}', {fault}")


def _add_commands(manager: pluggy.PluginManager, cli: Any) -> None:
    manager.hook.zoo_commands(cli=cli)


def _find_conflict(plugin: Plugin, earlier: list[Plugin]) -> str | None:
    """Returns what is wrong if another plugin of the distribution already offers one of the qualified names."""
    for other in earlier:
        if other.qualifier != plugin.qualifier:
            continue
        for kind in KINDS:
            # The name of a family is only a heading.
            names, others = ({spec.name for spec in each.specs(kind)} for each in (plugin, other))
            if both := names & others:
                return f"it offers '{plugin.qualifier}/{min(both)}', which {other.key} offers already"
    return None


def _failed_plugin(candidate: Candidate, error: str, *, details: str = "", blocked: bool = False) -> Plugin:
    return Plugin(
        key=candidate.key,
        qualifier=candidate.qualifier,
        distribution=candidate.distribution,
        version=candidate.version,
        built_in=candidate.built_in,
        error=error,
        details=details,
        blocked=blocked,
    )
