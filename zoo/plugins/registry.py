"""The registry of all offers of plugins: found by qualified or bare name, file formats by suffix."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from zoo.errors import AmbiguousNameError, PluginError, UnknownNameError, ZooError, did_you_mean
from zoo.plugins.calls import call_plugin, plugin_failure
from zoo.plugins.discovery import load_plugins
from zoo.plugins.entry_points import Candidate, blocked_names, find_plugins, warn_unused_blocks
from zoo.plugins.faults import card_fault
from zoo.plugins.kinds import FORMAT, Kind
from zoo.plugins.options import make_options, split_options
from zoo.plugins.specs import BackboneCard, BackboneFamily, BackboneSpec, Family, FormatSpec, Spec
from zoo.utils.arguments import DICT, Accepted, accepts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from zoo.plugins.discovery import Plugin

S = TypeVar("S", bound=Spec, covariant=True)
N = TypeVar("N", bound=Spec)
T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Offer(Generic[S]):
    """A spec and its plugin.

    Attributes:
        spec: The spec.
        plugin: The plugin that offers it.
    """

    spec: S
    plugin: Plugin

    @property
    def name(self) -> str:
        """The qualified name, ``torchvision/resnet18``."""
        return f"{self.plugin.qualifier}/{self.spec.name}"

    def call(self, action: str, function: Callable[P, T] | str, *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls a callable of the spec, or a method of a module that it built; `action` is like ``"building"``.

        Raises:
            ZooError: As for `zoo.plugins.calls.call_plugin`.
            PluginError: As for `zoo.plugins.calls.call_plugin`.
        """
        return call_plugin(self.plugin, f"{action} '{self.spec.name}'", function, *args, **kwargs)

    def make_options(self, values: Mapping[str, Any], *, owner: str, options: type[Any] | None = None) -> Any:
        """Returns the options of the spec with these values; as `zoo.plugins.options.make_options`.

        Args:
            values: Values by name.
            owner: The owner of the options, for messages.
            options: The dataclass, if it is not `Spec.options`.

        Raises:
            ConfigError: An option is unknown, missing or invalid.
            PluginError: The dataclass itself raises anything else.
        """
        return self.call("setting the options of", make_options, options or self.spec.options, values, owner=owner)


@dataclass(frozen=True, slots=True)
class Choice(Generic[S]):
    """An offer that a configuration names, with its options.

    Attributes:
        offer: The offer.
        options: An instance of the options of its spec.
    """

    offer: Offer[S]
    options: Any

    @property
    def spec(self) -> S:
        """The spec."""
        return self.offer.spec


class Registry:
    """All offers of a set of plugins.

    A bare name resolves to the built-in plugins in the order torchvision, efficientnet_lite, timm, heads, datasets,
    then to third-party plugins. If two third-party plugins offer it, and no built-in plugin does, it is ambiguous.

    Args:
        plugins: The plugins, in the order in which bare names resolve.
    """

    def __init__(self, plugins: Iterable[Plugin]) -> None:
        self.plugins = tuple(plugins)

    @property
    def failures(self) -> tuple[Plugin, ...]:
        """The plugins that failed; blocked plugins are not among them."""
        return tuple(plugin for plugin in self.plugins if plugin.error and not plugin.blocked)

    def offers(self, kind: Kind[N]) -> list[Offer[N]]:
        """Returns the offers of a kind; members of families are not among them."""
        return [Offer(spec, plugin) for plugin in self.plugins for spec in plugin.specs(kind)]

    def families(self, kind: Kind[Any]) -> list[tuple[Family, Plugin]]:
        """Returns the families of a kind, each with its plugin."""
        return [(family, plugin) for plugin in self.plugins for family in plugin.families(kind)]

    def find(self, kind: Kind[N], name: str) -> Offer[N]:
        """Returns the offer with a qualified or bare name.

        Raises:
            UnknownNameError: No plugin offers the name; the hint lists close matches and failed plugins.
            AmbiguousNameError: Two third-party plugins offer the name.
            PluginError: A family failed to resolve the name, and no other plugin offers it.
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
                if plugin.built_in:  # built-in plugins take precedence, so no third-party plugin may step in
                    raise
                errors.append(error)
                continue
            if spec is not None:
                offer = Offer(spec, plugin)
                if plugin.built_in or slash:
                    return offer
                found.setdefault(offer.name, offer)  # two plugins of a distribution may share a qualified name
        if len(found) > 1:
            raise AmbiguousNameError(
                f"{len(found)} plugins offer the {kind.name} '{name}'.", hint=f"Use {' or '.join(found)}."
            )
        if found:
            return next(iter(found.values()))
        if errors:
            raise errors[0]
        known = did_you_mean(name, self._known_names(kind))
        hint = " ".join(filter(None, [known, f"'zoo list {kind.word}' lists them all.", self.describe_unavailable()]))
        raise UnknownNameError(f"There is no {kind.name} '{name}'.", hint=hint)

    def choose(self, kind: Kind[N], name: str, options: Mapping[str, Any]) -> Choice[N]:
        """Returns the offer with a name, with these values of its options.

        Raises:
            UnknownNameError: As for `find`.
            AmbiguousNameError: As for `find`.
            ConfigError: An option is unknown, missing or invalid.
            PluginError: The plugin failed.
        """
        offer = self.find(kind, name)
        return Choice(offer, offer.make_options(options, owner=f"{kind.name} {name}"))

    def choose_all(self, kind: Kind[N], names: Sequence[str], options: Mapping[str, Any]) -> tuple[Choice[N], ...]:
        """Returns the offers with some names, in their order.

        Args:
            kind: Their kind.
            names: The names, each once.
            options: Values of options. With several names, those of one have its name before a dot: ``cutmix.alpha``.

        Raises:
            ZooError: As for `choose`.
        """
        own = split_options(kind.name, names, options)
        return tuple(self.choose(kind, name, own[name]) for name in names)

    def find_format(self, path: Path) -> Offer[FormatSpec] | None:
        """Returns the format that opens a file, by its suffix, or None; the longest matching suffix wins.

        Raises:
            AmbiguousNameError: Two third-party plugins open such files, and no built-in plugin does.
        """
        name = path.name.lower()
        matches = [
            (len(suffix), offer)
            for offer in self.offers(FORMAT)
            for suffix in offer.spec.suffixes
            if name.endswith(suffix)
        ]
        longest = max((length for length, _ in matches), default=0)
        offers = [offer for length, offer in matches if length == longest]
        if len(offers) > 1 and not offers[0].plugin.built_in:
            raise AmbiguousNameError(
                f"{len(offers)} plugins can open {path}: {', '.join(offer.plugin.key for offer in offers)}.",
                hint="Block all but one with ZOO_BLOCK_PLUGINS=NAME.",
            )
        return offers[0] if offers else None

    def describe_unavailable(self) -> str:
        """Returns sentences about failed and blocked plugins, which may offer a name that is not found."""
        failed = [f"The plugin {plugin.key} failed: {plugin.error}." for plugin in self.failures]
        blocked = [f"The plugin {plugin.key} is {plugin.error}." for plugin in self.plugins if plugin.blocked]
        return " ".join([*failed, *blocked])

    def _known_names(self, kind: Kind[Any]) -> list[str]:
        names = [offer.name for offer in self.offers(kind)]
        for family, plugin in self.families(kind):
            # A family that cannot list its names must not hide the error that these names are a hint for.
            with contextlib.suppress(PluginError):
                names += list_family_names(family, plugin)
        return names


REGISTRY = Accepted("a zoo.Registry", (Registry,))  # as an argument of public functions


@accepts(extra=DICT | None)
def load_registry(extra: Mapping[str, object] | None = None) -> Registry:
    """Returns a new registry of all plugins that are installed in this environment.

    A plugin that fails is in `Registry.plugins` with its error.

    Args:
        extra: Additional plugins for tests and notebooks, by the distribution name to give them.
    """
    candidates, blocked = find_plugins(), blocked_names()
    for name, plugin in (extra or {}).items():
        load = functools.partial(_identity, plugin)
        candidates.append(Candidate(entry=name, distribution=name, version="", load=load))
    warn_unused_blocks(blocked, candidates)
    return Registry(load_plugins(candidates, blocked=blocked))


def get_card(offer: Offer[BackboneSpec]) -> BackboneCard:
    """Returns the card of a backbone; may import its library.

    Raises:
        PluginError: The plugin failed, or did not return a card.
    """
    card = offer.call("describing", offer.spec.card)
    if fault := card_fault(card):
        raise plugin_failure(offer.plugin, f"describing '{offer.spec.name}'", fault)
    return card


def is_local(offer: Offer[BackboneSpec]) -> bool:
    """Returns whether the pretrained weights of a backbone are on this machine; imports nothing heavy.

    Raises:
        PluginError: The plugin failed.
    """
    return bool(offer.call("looking for the weights of", offer.spec.is_local))


def shortest_names(offers: Iterable[Offer[N]]) -> dict[str, Offer[N]]:
    """Returns offers by a name that finds each: the bare one of a built-in plugin's unless an earlier one has the same.

    Args:
        offers: All offers of a kind, in the order in which bare names resolve.
    """
    names: dict[str, Offer[N]] = {}
    for offer in offers:
        bare = offer.plugin.built_in and offer.spec.name not in names
        names[offer.spec.name if bare else offer.name] = offer
    return names


def list_family_names(family: Family, plugin: Plugin) -> list[str]:
    """Returns the qualified names of a family; may import its library.

    Raises:
        PluginError: The family failed.
    """
    return _list_names(plugin, f"listing the names of '{family.name}'", family.names)


def list_known_names(family: Family, plugin: Plugin) -> list[str]:
    """Returns the qualified names of a family that are known without importing its library.

    Raises:
        PluginError: The family failed.
    """
    return _list_names(plugin, f"listing the known names of '{family.name}'", family.known_names)


def list_local_names(family: Family, plugin: Plugin) -> list[str]:
    """Returns the qualified names of a family of backbones whose pretrained weights are on this machine.

    Raises:
        PluginError: The family failed.
    """
    if not isinstance(family, BackboneFamily):
        return []
    return _list_names(plugin, f"looking for local weights of '{family.name}'", family.local_names)


def _list_names(plugin: Plugin, action: str, function: Callable[[], list[str]] | str) -> list[str]:
    """Calls a function of a family that returns names, and qualifies them."""
    names: object = _call_family(plugin, action, function)
    if not isinstance(names, list):
        raise plugin_failure(plugin, action, f"it returned {type(names).__name__}, not a list")
    return [f"{plugin.qualifier}/{name}" for name in names]


def _identity(plugin: object) -> object:
    return plugin


def _specs_named(plugin: Plugin, kind: Kind[N], name: str) -> Iterator[N]:
    yield from (spec for spec in plugin.specs(kind) if spec.name == name)
    for family in plugin.families(kind):
        action = f"resolving the {kind.name} '{name}'"
        spec = _call_family(plugin, action, family.resolve, name)
        if isinstance(spec, kind.spec):
            yield spec
        elif spec is not None:
            raise plugin_failure(plugin, action, f"it returned {type(spec).__name__}, not {kind.spec.__name__}")


def _call_family(plugin: Plugin, action: str, function: Callable[P, T] | str, *args: P.args, **kwargs: P.kwargs) -> T:
    """Calls `call_plugin`; a `ZooError` becomes a `PluginError`, so that another plugin may offer the name."""
    try:
        return call_plugin(plugin, action, function, *args, **kwargs)
    except PluginError:
        raise
    except ZooError as error:
        raise plugin_failure(plugin, action, error) from error
