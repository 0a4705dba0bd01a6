"""Loads plugins and keeps them apart: one that fails is a value in a list, and never disturbs another.

pluggy calls the hooks. Finding and naming is done by `zoo.plugins.entry_points`, because
`PluginManager.load_setuptools_entrypoints` lets one failing import abort all, and drops the second of two entry points
with the same name without a word.
"""

from __future__ import annotations

import re
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from zoo.errors import PluginError, close_matches
from zoo.plugins import hookspecs
from zoo.plugins.entry_points import BLOCK_VARIABLE, BUILT_IN, is_blocked
from zoo.plugins.kinds import KINDS, Kind
from zoo.plugins.specs import BackboneFamily, Spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import pluggy

    from zoo.plugins.entry_points import Candidate

S = TypeVar("S", bound=Spec)
_NAME = re.compile(r"[a-z0-9][a-z0-9_.\-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """A plugin as it was found: what it offers, or why it cannot be used.

    Attributes:
        key: ``distribution:entry``.
        qualifier: What stands before the slash in qualified names.
        distribution: The distribution that declares it.
        version: Of the distribution.
        built_in: Whether it is part of this distribution.
        offers: Specs and families by the name of their kind; empty if the plugin failed.
        add_commands: Adds the plugin's commands to a click group, or None.
        error: Why the plugin is not used, or None.
        details: The traceback that belongs to `error`, or empty.
        blocked: Whether ``ZOO_BLOCK_PLUGINS`` leaves it out.
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
        """Returns the specs of a kind that the plugin offers one by one."""
        return tuple(offer for offer in self.offers.get(kind.name, ()) if isinstance(offer, kind.spec))

    def families(self, kind: Kind[Any]) -> tuple[BackboneFamily, ...]:
        """Returns the families of a kind."""
        return tuple(offer for offer in self.offers.get(kind.name, ()) if isinstance(offer, BackboneFamily))


def load_plugins(candidates: Iterable[Candidate], *, blocked: frozenset[str] = frozenset()) -> tuple[Plugin, ...]:
    """Imports and asks each candidate, each on its own.

    Args:
        candidates: In the order in which bare names are to resolve.
        blocked: Keys, entry names or distributions to leave out.

    Returns:
        One `Plugin` for each candidate, in the same order: used, blocked or failed.
    """
    plugins: list[Plugin] = []
    for candidate in candidates:
        plugin = _load(candidate, blocked)
        clash = _clash(plugin, plugins)
        plugins.append(_failed(candidate, clash) if clash else plugin)
    return tuple(plugins)


def _load(candidate: Candidate, blocked: frozenset[str]) -> Plugin:
    if is_blocked(candidate, blocked):
        return _failed(candidate, f"left out by {BLOCK_VARIABLE}", blocked=True)
    if not candidate.built_in and candidate.qualifier in BUILT_IN:
        return _failed(candidate, f"the name '{candidate.qualifier}' belongs to a built-in plugin")
    try:
        return _ask(candidate, candidate.load())
    except PluginError as error:
        return _failed(candidate, str(error))
    except KeyboardInterrupt:
        raise
    # Not Exception alone: a plugin that calls sys.exit() at import, or panics in Rust, must not end the program.
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}".strip(": ")
        return _failed(candidate, reason, details=traceback.format_exc())


def _ask(candidate: Candidate, plugin: object) -> Plugin:
    """Calls the hooks of one plugin that return offers; raises whatever they raise."""
    manager = hookspecs.register(plugin, name=candidate.key)
    _refuse_unknown_hooks(manager, plugin)
    offers = {kind.name: _offers(manager, kind) for kind in KINDS}
    implemented = {caller.name for caller in manager.get_hookcallers(plugin) or ()}
    if not implemented:
        raise PluginError(
            f"it implements no hook; hooks are marked with zoo.hookimpl and named {', '.join(sorted(_hook_names()))}"
        )
    return Plugin(
        key=candidate.key,
        qualifier=candidate.qualifier,
        distribution=candidate.distribution,
        version=candidate.version,
        built_in=candidate.built_in,
        offers=offers,
        add_commands=_command_adder(manager) if "zoo_commands" in implemented else None,
    )


def _hook_names() -> set[str]:
    return {name for name in vars(hookspecs) if name.startswith("zoo_")}


def _refuse_unknown_hooks(manager: pluggy.PluginManager, plugin: object) -> None:
    known = _hook_names()
    marked = {caller.name for caller in manager.get_hookcallers(plugin) or ()}
    # pluggy ignores a function named like a hook that lacks the marker, and a misspelt hook, without a word.
    looks_like = {name for name in dir(plugin) if name.startswith("zoo_") and callable(getattr(plugin, name, None))}
    for name in sorted((marked | looks_like) - known):
        near = close_matches(name, known, limit=1) or sorted(known)
        raise PluginError(f"there is no hook '{name}'; the nearest is {' or '.join(near)}")
    for name in sorted(looks_like - marked):
        raise PluginError(f"its hook '{name}' lacks the marker: put @zoo.hookimpl above it")


def _offers(manager: pluggy.PluginManager, kind: Kind[Any]) -> tuple[Any, ...]:
    # A list of answers, because `hookimpl(specname=...)` lets one plugin implement a hook twice.
    caller = getattr(manager.hook, kind.hook)
    answers = caller()
    for answer in answers:
        if not isinstance(answer, (list, tuple)):
            raise PluginError(f"{kind.hook} returned {type(answer).__name__}, not a list")
    if len(answers) < len(caller.get_hookimpls()):  # pluggy drops None
        raise PluginError(f"{kind.hook} returned None, not a list")
    offers = tuple(offer for answer in answers for offer in answer)
    names: set[tuple[type[Any], str]] = set()
    for offer in offers:
        _check_offer(offer, kind)
        if (type(offer), offer.name) in names:
            raise PluginError(f"{kind.hook} offers '{offer.name}' twice")
        names.add((type(offer), offer.name))
    return offers


def _check_offer(offer: Any, kind: Kind[Any]) -> None:
    if not isinstance(offer, kind.accepted):
        wanted = " or ".join(accepted.__name__ for accepted in kind.accepted)
        raise PluginError(f"{kind.hook} returned a list that holds {type(offer).__name__}, not {wanted}")
    if not isinstance(offer.name, str) or not _NAME.fullmatch(offer.name):
        raise PluginError(f"{kind.hook} offers {offer.name!r}: names are lower-case letters, digits and _ . -")
    if isinstance(offer, kind.spec) and (fault := kind.fault(offer)):
        raise PluginError(f"{kind.hook} offers '{offer.name}' {fault}")


def _command_adder(manager: pluggy.PluginManager) -> Callable[[Any], None]:
    def add(cli: Any) -> None:
        manager.hook.zoo_commands(cli=cli)

    return add


def _clash(plugin: Plugin, earlier: list[Plugin]) -> str | None:
    """Names an offer that another plugin of the same distribution made under the same qualified name."""
    for other in earlier:
        if other.qualifier != plugin.qualifier:
            continue
        for kind in KINDS:
            # A family's own name is a heading and not an offer.
            names, others = ({spec.name for spec in each.specs(kind)} for each in (plugin, other))
            if both := names & others:
                return f"it offers '{plugin.qualifier}/{min(both)}', which {other.key} offers already"
    return None


def _failed(candidate: Candidate, error: str, *, details: str = "", blocked: bool = False) -> Plugin:
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
