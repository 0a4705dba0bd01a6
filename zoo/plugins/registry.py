"""Finds what plugins offer, by qualified or bare name, and what opens a file, by its suffix."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from zoo.errors import AmbiguousNameError, PluginError, UnknownNameError, ZooError, did_you_mean
from zoo.plugins.calls import call_plugin, plugin_failure
from zoo.plugins.discovery import load_plugins
from zoo.plugins.entry_points import Candidate, blocked_names, find_plugins, warn_of_unused
from zoo.plugins.kinds import FORMAT, Kind
from zoo.plugins.specs import BackboneCard, BackboneFamily, BackboneSpec, FormatSpec, Spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from zoo.plugins.discovery import Plugin

S = TypeVar("S", bound=Spec, covariant=True)
N = TypeVar("N", bound=Spec)
T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Offer(Generic[S]):
    """A spec, and the plugin it came from.

    Attributes:
        spec: What the plugin handed over.
        plugin: Where it came from.
    """

    spec: S
    plugin: Plugin

    @property
    def name(self) -> str:
        """The qualified name, ``torchvision/resnet18``."""
        return f"{self.plugin.qualifier}/{self.spec.name}"

    def call(self, doing: str, function: Callable[P, T] | str, *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls one of the spec's callables, or code of a module that it built; see `call_plugin`."""
        return call_plugin(self.plugin, f"{doing} '{self.spec.name}'", function, *args, **kwargs)


class Registry:
    """Everything that the plugins of this environment offer.

    A bare name resolves to the built-in plugins in their order (torchvision, timm, heads, datasets), then to
    third-party ones. A bare name that two third-party plugins offer, and no built-in one, is ambiguous.

    Args:
        plugins: In the order in which bare names resolve.
    """

    def __init__(self, plugins: Iterable[Plugin]) -> None:
        self.plugins = tuple(plugins)

    @property
    def failures(self) -> tuple[Plugin, ...]:
        """The plugins that could not be used, blocked ones left out."""
        return tuple(plugin for plugin in self.plugins if plugin.error and not plugin.blocked)

    def offers(self, kind: Kind[N]) -> list[Offer[N]]:
        """Returns all of a kind that is offered one by one; families are in `families`."""
        return [Offer(spec, plugin) for plugin in self.plugins for spec in plugin.specs(kind)]

    def families(self, kind: Kind[Any]) -> list[tuple[BackboneFamily, Plugin]]:
        """Returns the families of a kind."""
        return [(family, plugin) for plugin in self.plugins for family in plugin.families(kind)]

    def find(self, kind: Kind[N], name: str) -> Offer[N]:
        """Returns the offer of a qualified or bare name.

        Raises:
            UnknownNameError: No plugin offers it; the hint lists close matches and failed plugins.
            AmbiguousNameError: Two third-party plugins offer it.
            PluginError: A family failed over the name, and no other plugin that may answer offers it.
        """
        qualifier, slash, bare = name.rpartition("/")
        found: dict[str, Offer[N]] = {}
        errors: list[PluginError] = []
        for plugin in self.plugins:
            if slash and plugin.qualifier != qualifier:
                continue
            try:
                spec = next(_specs_named(plugin, kind, bare), None)
            except PluginError as error:
                if plugin.built_in:  # it comes first: what it would have answered must not go to a third-party plugin
                    raise
                errors.append(error)
                continue
            if spec is not None:
                offer = Offer(spec, plugin)
                if plugin.built_in or slash:
                    return offer
                found.setdefault(offer.name, offer)  # two plugins of one distribution share their qualified names
        if len(found) > 1:
            raise AmbiguousNameError(
                f"The {kind.name} '{name}' is offered by {len(found)} plugins.", hint=f"Use {' or '.join(found)}."
            )
        if found:
            return next(iter(found.values()))
        if errors:
            raise errors[0]
        known = did_you_mean(name, self._known_names(kind))
        hint = " ".join(filter(None, [known, f"'zoo list' shows every {kind.name}.", self.describe_missing()]))
        raise UnknownNameError(f"There is no {kind.name} '{name}'.", hint=hint)

    def format_of(self, path: Path) -> Offer[FormatSpec] | None:
        """Returns what opens a file of this name, or None; of formats that fit, those with the longest suffix count.

        Raises:
            AmbiguousNameError: Two third-party plugins open such files, and no built-in plugin does.
        """
        name = path.name.lower()
        fitting = [
            (len(suffix), offer)
            for offer in self.offers(FORMAT)
            for suffix in offer.spec.suffixes
            if name.endswith(suffix)
        ]
        longest = max((length for length, _ in fitting), default=0)
        offers = [offer for length, offer in fitting if length == longest]
        if len(offers) > 1 and not offers[0].plugin.built_in:
            raise AmbiguousNameError(
                f"{path} can be opened by {len(offers)} plugins: {', '.join(offer.plugin.key for offer in offers)}.",
                hint="Leave the others out with ZOO_BLOCK_PLUGINS=NAME.",
            )
        return offers[0] if offers else None

    def describe_missing(self) -> str:
        """Returns sentences on the plugins that failed or are blocked: a name that is not found may be theirs."""
        failed = [f"The plugin {plugin.key} failed: {plugin.error}." for plugin in self.failures]
        blocked = [f"The plugin {plugin.key} is {plugin.error}." for plugin in self.plugins if plugin.blocked]
        return " ".join([*failed, *blocked])

    def _known_names(self, kind: Kind[Any]) -> list[str]:
        names = [offer.name for offer in self.offers(kind)]
        for family, plugin in self.families(kind):
            # These names are for the hint of an error: a family that cannot list its own must not hide that error.
            with contextlib.suppress(PluginError):
                names += family_names(family, plugin)
        return names


def load_registry(extra: Mapping[str, object] | None = None) -> Registry:
    """Returns a fresh registry of every plugin that is installed in this environment.

    Each plugin is imported and asked once; one that fails is in `Registry.plugins` with its error.

    Args:
        extra: More plugins, by the distribution name they are to have: for tests and notebooks.
    """
    candidates, blocked = find_plugins(), blocked_names()
    for name, plugin in (extra or {}).items():
        candidates.append(Candidate(entry=name, distribution=name, version="", load=functools.partial(_given, plugin)))
    warn_of_unused(blocked, candidates)
    return Registry(load_plugins(candidates, blocked=blocked))


def card_of(offer: Offer[BackboneSpec]) -> BackboneCard:
    """Returns what is known of a backbone; may import its library.

    Raises:
        PluginError: The plugin failed, or returned something else.
    """
    card = offer.call("describing", offer.spec.card)
    if not isinstance(card, BackboneCard):
        raise PluginError(f"{offer.name}: card returned {type(card).__name__}, not a zoo.BackboneCard.")
    return card


def family_names(family: BackboneFamily, plugin: Plugin) -> list[str]:
    """Returns the qualified names of a family; may import the family's library.

    Raises:
        PluginError: The family failed.
    """
    doing = f"listing the names of '{family.name}'"
    names: object = _ask_family(plugin, doing, family.names)
    if not isinstance(names, list):
        raise plugin_failure(plugin, doing, f"it returned {type(names).__name__}, not a list")
    return [f"{plugin.qualifier}/{name}" for name in names]


def _given(plugin: object) -> object:
    return plugin


def _specs_named(plugin: Plugin, kind: Kind[N], name: str) -> Iterator[N]:
    yield from (spec for spec in plugin.specs(kind) if spec.name == name)
    for family in plugin.families(kind):
        doing = f"looking for the {kind.name} '{name}'"
        spec = _ask_family(plugin, doing, family.resolve, name)
        if isinstance(spec, kind.spec):
            yield spec
        elif spec is not None:
            raise plugin_failure(plugin, doing, f"it returned {type(spec).__name__}, not {kind.spec.__name__}")


def _ask_family(plugin: Plugin, doing: str, function: Callable[P, T] | str, *args: P.args, **kwargs: P.kwargs) -> T:
    """As `call_plugin`; a `ZooError` counts as the plugin's failure too, so that another plugin may answer."""
    try:
        return call_plugin(plugin, doing, function, *args, **kwargs)
    except PluginError:
        raise
    except ZooError as error:
        raise plugin_failure(plugin, doing, error) from error
