"""Discovers plugins and keeps them apart: one that fails is a value in a list, and never disturbs another.

pluggy calls the hooks; finding and naming is done here, because `PluginManager.load_setuptools_entrypoints` lets one
failing import abort all, and drops the second of two entry points with the same name without a word.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import re
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pluggy

from zoo.errors import PluginError, close_matches
from zoo.plugins import hookspecs
from zoo.plugins.options import describe_options
from zoo.plugins.specs import BackboneFamily, BackboneSpec, CheckSpec, DatasetSpec, FormatSpec, HeadSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


GROUP = "zoo"
DISTRIBUTION = "finetune-zoo"
# Bare names resolve in this order, then to outsiders.
BUILT_IN = ("torchvision", "timm", "heads", "datasets")
BLOCK_VARIABLE = "ZOO_BLOCK_PLUGINS"
_NAME = re.compile(r"[a-z0-9][a-z0-9_.\-]*")
_SUFFIX = re.compile(r"(\.[a-z0-9_\-]+)+")
_OFFER_HOOKS: dict[str, tuple[type[Any], ...]] = {
    "zoo_backbones": (BackboneSpec, BackboneFamily),
    "zoo_heads": (HeadSpec,),
    "zoo_datasets": (DatasetSpec,),
    "zoo_formats": (FormatSpec,),
    "zoo_checks": (CheckSpec,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A plugin that was announced and not loaded yet.

    Attributes:
        entry: The entry point's name.
        distribution: The distribution that announces it.
        version: Of the distribution.
        load: Imports and returns the plugin.
    """

    entry: str
    distribution: str
    version: str
    load: Callable[[], object]

    @property
    def key(self) -> str:
        """``distribution:entry``, unique among all plugins."""
        return f"{self.distribution}:{self.entry}"

    @property
    def qualifier(self) -> str:
        """What stands before the slash in qualified names.

        The entry's name for built-in plugins; the distribution's for outsiders, which is unique where
        an entry's name need not be, and does not change when another plugin is installed.
        """
        return self.entry if self.distribution == DISTRIBUTION else self.distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """A plugin as it was found: what it offers, or why it cannot be used.

    Attributes:
        key: ``distribution:entry``.
        qualifier: What stands before the slash in qualified names.
        distribution: The distribution that announces it.
        version: Of the distribution.
        backbones: Backbones and families offered; empty if the plugin failed.
        heads: Heads offered.
        datasets: Datasets offered.
        formats: Kinds of files that it opens.
        checks: Checks of the set-up.
        add_commands: Adds the plugin's commands to a click group, or None.
        error: Why the plugin is not used, or None.
        details: The traceback that belongs to `error`, or empty.
        blocked: Whether it was left out by ``ZOO_BLOCK_PLUGINS``.
    """

    key: str
    qualifier: str
    distribution: str
    version: str
    backbones: tuple[BackboneSpec | BackboneFamily, ...] = ()
    heads: tuple[HeadSpec, ...] = ()
    datasets: tuple[DatasetSpec, ...] = ()
    formats: tuple[FormatSpec, ...] = ()
    checks: tuple[CheckSpec, ...] = ()
    add_commands: Callable[[Any], None] | None = field(default=None, repr=False)
    error: str | None = None
    details: str = field(default="", repr=False)
    blocked: bool = False

    @property
    def built_in(self) -> bool:
        """Whether the plugin is part of this distribution."""
        return self.distribution == DISTRIBUTION


def blocked_names() -> frozenset[str]:
    """Returns the names in ``ZOO_BLOCK_PLUGINS``, separated by commas: keys, entry names or distributions."""
    return frozenset(filter(None, (part.strip() for part in os.environ.get(BLOCK_VARIABLE, "").split(","))))


def discover() -> list[Candidate]:
    """Returns every announced plugin, nothing imported: built-in ones in their order, then outsiders by key."""
    found = [_candidate(entry) for entry in importlib.metadata.entry_points(group=GROUP)]
    # An editable install beside a wheel announces the same entry twice.
    unique = {candidate.key: candidate for candidate in reversed(found)}
    return sorted(unique.values(), key=_order)


def load_plugins(candidates: Iterable[Candidate], *, blocked: frozenset[str] = frozenset()) -> tuple[Plugin, ...]:
    """Imports and asks each candidate, each on its own.

    Args:
        candidates: In the order in which bare names are to resolve.
        blocked: Keys, entry names or distributions to leave out.

    Returns:
        One `Plugin` a candidate, in the same order: used, blocked or failed.
    """
    plugins: list[Plugin] = []
    for candidate in candidates:
        plugin = _load(candidate, blocked)
        clash = _clash(plugin, plugins)
        plugins.append(_failed(candidate, clash) if clash else plugin)
    return tuple(plugins)


def _candidate(entry: importlib.metadata.EntryPoint) -> Candidate:
    dist = entry.dist
    # A distribution removed by halves has entry points but no metadata left: its name and version would be None.
    told = dist is not None and (dist.read_text("METADATA") or dist.read_text("PKG-INFO"))
    return Candidate(
        entry=entry.name,
        distribution=_normalised((dist.name if dist and told else None) or "unknown"),
        version=(dist.version if dist and told else None) or "",
        load=entry.load,
    )


def _normalised(distribution: str) -> str:
    # https://packaging.python.org/en/latest/specifications/name-normalization/
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _order(candidate: Candidate) -> tuple[int, str]:
    if candidate.distribution == DISTRIBUTION and candidate.entry in BUILT_IN:
        return BUILT_IN.index(candidate.entry), candidate.key
    return len(BUILT_IN) + (candidate.distribution != DISTRIBUTION), candidate.key


def _load(candidate: Candidate, blocked: frozenset[str]) -> Plugin:
    if blocked & {candidate.key, candidate.entry, candidate.distribution} or candidate.distribution in {
        _normalised(name) for name in blocked
    }:
        return _failed(candidate, f"left out by {BLOCK_VARIABLE}", blocked=True)
    if candidate.distribution != DISTRIBUTION and candidate.qualifier in BUILT_IN:
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
    """Calls the offering hooks of one plugin; raises whatever they raise."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(plugin, name=candidate.key)
    _refuse_unknown_hooks(manager, plugin)
    offers = {hook: _offers(manager, hook, kinds) for hook, kinds in _OFFER_HOOKS.items()}
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
        backbones=offers["zoo_backbones"],
        heads=offers["zoo_heads"],
        datasets=offers["zoo_datasets"],
        formats=offers["zoo_formats"],
        checks=offers["zoo_checks"],
        add_commands=_command_adder(manager) if "zoo_commands" in implemented else None,
    )


def _hook_names() -> set[str]:
    return {name for name in vars(hookspecs) if name.startswith("zoo_")}


def _refuse_unknown_hooks(manager: pluggy.PluginManager, plugin: object) -> None:
    known = _hook_names()
    marked = {caller.name for caller in manager.get_hookcallers(plugin) or ()}
    # A function named like a hook that lacks the marker would be ignored in silence; so would a misspelt one.
    looks_like = {name for name in dir(plugin) if name.startswith("zoo_") and callable(getattr(plugin, name, None))}
    for name in sorted((marked | looks_like) - known):
        near = close_matches(name, known, limit=1) or sorted(known)
        raise PluginError(f"there is no hook '{name}'; the nearest is {' or '.join(near)}")
    for name in sorted(looks_like - marked):
        raise PluginError(f"its hook '{name}' lacks the marker: put @zoo.hookimpl above it")


def _offers(manager: pluggy.PluginManager, hook: str, kinds: tuple[type[Any], ...]) -> tuple[Any, ...]:
    # A list of answers, for `hookimpl(specname=...)` lets one plugin implement a hook twice.
    caller = getattr(manager.hook, hook)
    answers = caller()
    for answer in answers:
        if not isinstance(answer, (list, tuple)):
            raise PluginError(f"{hook} returned {type(answer).__name__}, not a list")
    if len(answers) < len(caller.get_hookimpls()):  # pluggy drops None
        raise PluginError(f"{hook} returned None, not a list")
    offers = tuple(offer for answer in answers for offer in answer)
    names: set[tuple[type[Any], str]] = set()
    for offer in offers:
        if not isinstance(offer, kinds):
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise PluginError(f"{hook} returned a list that holds {type(offer).__name__}, not {wanted}")
        if not isinstance(offer.name, str) or not _NAME.fullmatch(offer.name):
            raise PluginError(f"{hook} offers {offer.name!r}: names are lower-case letters, digits and _ . -")
        if (type(offer), offer.name) in names:
            raise PluginError(f"{hook} offers '{offer.name}' twice")
        names.add((type(offer), offer.name))
        if isinstance(offer, FormatSpec):
            _check_suffixes(hook, offer)
        elif not isinstance(offer, (BackboneFamily, CheckSpec)):
            _check_options(hook, offer)
    return offers


def _check_options(hook: str, offer: BackboneSpec | HeadSpec | DatasetSpec) -> None:
    if not isinstance(offer.options, type) or not dataclasses.is_dataclass(offer.options):
        raise PluginError(f"{hook} offers '{offer.name}' whose options are not a dataclass")
    try:
        describe_options(offer.options)
    except NameError as error:
        raise PluginError(
            f"{hook} offers '{offer.name}' whose options cannot be read: {error}; import what their types name"
        ) from error


def _check_suffixes(hook: str, offer: FormatSpec) -> None:
    suffixes = offer.suffixes
    if not isinstance(suffixes, tuple) or not all(isinstance(s, str) and _SUFFIX.fullmatch(s) for s in suffixes):
        raise PluginError(
            f"{hook} offers '{offer.name}' whose suffixes are no tuple of lower-case endings like '.onnx'"
        )
    if not suffixes:
        raise PluginError(f"{hook} offers '{offer.name}' without a suffix")


def _command_adder(manager: pluggy.PluginManager) -> Callable[[Any], None]:
    def add(cli: Any) -> None:
        manager.hook.zoo_commands(cli=cli)

    return add


def _clash(plugin: Plugin, earlier: list[Plugin]) -> str | None:
    """Names an offer that another plugin of the same distribution made under the same qualified name."""
    for other in earlier:
        if other.qualifier != plugin.qualifier:
            continue
        for kind in ("backbones", "heads", "datasets", "formats", "checks"):
            if both := _names(plugin, kind) & _names(other, kind):
                return f"it offers '{plugin.qualifier}/{min(both)}', which {other.key} offers already"
    return None


def _names(plugin: Plugin, kind: str) -> set[str]:
    # A family's own name is a heading and no offer.
    return {offer.name for offer in getattr(plugin, kind) if not isinstance(offer, BackboneFamily)}


def _failed(candidate: Candidate, error: str, *, details: str = "", blocked: bool = False) -> Plugin:
    return Plugin(
        key=candidate.key,
        qualifier=candidate.qualifier,
        distribution=candidate.distribution,
        version=candidate.version,
        error=error,
        details=details,
        blocked=blocked,
    )
