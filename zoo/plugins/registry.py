"""Finds a backbone, head or dataset by its qualified or bare name, and the format of a file by its suffix."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from zoo.errors import AmbiguousNameError, PluginError, UnknownNameError, ZooError, did_you_mean
from zoo.plugins.discovery import Candidate, blocked_names, discover, load_plugins
from zoo.plugins.specs import BackboneCard, BackboneFamily, BackboneSpec, CheckSpec, DatasetSpec, FormatSpec, HeadSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from zoo.plugins.discovery import Plugin

S = TypeVar("S", BackboneSpec, HeadSpec, DatasetSpec, FormatSpec, CheckSpec)
T = TypeVar("T")


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


class Registry:
    """Everything that the plugins of this environment offer.

    A bare name resolves to the built-in plugins in their order (torchvision, timm, heads, datasets), then to
    outsiders. A bare name that two outsiders offer, and no built-in plugin, is ambiguous.

    Args:
        plugins: In the order in which bare names resolve.
    """

    def __init__(self, plugins: Iterable[Plugin]) -> None:
        self.plugins = tuple(plugins)

    @property
    def failures(self) -> tuple[Plugin, ...]:
        """The plugins that could not be used, blocked ones left out."""
        return tuple(plugin for plugin in self.plugins if plugin.error and not plugin.blocked)

    def backbones(self) -> list[Offer[BackboneSpec]]:
        """Returns the backbones that are offered one by one; families are in `families`."""
        return [
            Offer(spec, plugin)
            for plugin in self.plugins
            for spec in plugin.backbones
            if isinstance(spec, BackboneSpec)
        ]

    def families(self) -> list[tuple[BackboneFamily, Plugin]]:
        """Returns the families of backbones."""
        return [
            (family, plugin)
            for plugin in self.plugins
            for family in plugin.backbones
            if isinstance(family, BackboneFamily)
        ]

    def heads(self) -> list[Offer[HeadSpec]]:
        """Returns every head."""
        return [Offer(spec, plugin) for plugin in self.plugins for spec in plugin.heads]

    def datasets(self) -> list[Offer[DatasetSpec]]:
        """Returns every named dataset."""
        return [Offer(spec, plugin) for plugin in self.plugins for spec in plugin.datasets]

    def formats(self) -> list[Offer[FormatSpec]]:
        """Returns every kind of file that can be opened."""
        return [Offer(spec, plugin) for plugin in self.plugins for spec in plugin.formats]

    def checks(self) -> list[Offer[CheckSpec]]:
        """Returns every check of the set-up."""
        return [Offer(spec, plugin) for plugin in self.plugins for spec in plugin.checks]

    def format_of(self, path: Path) -> Offer[FormatSpec] | None:
        """Returns what opens a file of this name, or None; of formats that fit, those with the longest suffix count.

        Raises:
            AmbiguousNameError: Two outsiders open such files, and no built-in plugin does.
        """
        name = path.name.lower()
        fitting = [
            (len(suffix), offer) for offer in self.formats() for suffix in offer.spec.suffixes if name.endswith(suffix)
        ]
        longest = max((length for length, _ in fitting), default=0)
        offers = [offer for length, offer in fitting if length == longest]
        if len(offers) > 1 and not offers[0].plugin.built_in:
            raise AmbiguousNameError(
                f"{path} can be opened by {len(offers)} plugins: {', '.join(offer.plugin.key for offer in offers)}.",
                hint="Leave the others out with ZOO_BLOCK_PLUGINS=NAME.",
            )
        return offers[0] if offers else None

    def backbone(self, name: str) -> Offer[BackboneSpec]:
        """Returns the backbone of a qualified or bare name.

        Raises:
            UnknownNameError: No plugin offers it; the hint lists close matches and failed plugins.
            AmbiguousNameError: Two outsiders offer it.
            PluginError: A family failed over the name, and no other plugin that may answer offers it.
        """
        return self._find("backbone", name, self._backbones_of, self._known_backbones)

    def head(self, name: str) -> Offer[HeadSpec]:
        """Returns the head of a qualified or bare name; raises as `backbone`."""
        return self._find("head", name, _named("heads"), lambda: [offer.name for offer in self.heads()])

    def dataset(self, name: str) -> Offer[DatasetSpec]:
        """Returns the dataset of a qualified or bare name; raises as `backbone`."""
        return self._find("dataset", name, _named("datasets"), lambda: [offer.name for offer in self.datasets()])

    def _find(
        self,
        kind: str,
        name: str,
        offers_of: Callable[[Plugin, str], Iterator[S]],
        known: Callable[[], list[str]],
    ) -> Offer[S]:
        qualifier, slash, bare = name.rpartition("/")
        found: dict[str, Offer[S]] = {}
        errors: list[PluginError] = []
        for plugin in self.plugins:
            if slash and plugin.qualifier != qualifier:
                continue
            try:
                spec = next(offers_of(plugin, bare), None)
            except PluginError as error:
                if plugin.built_in:  # it comes first: what it would have answered must not go to an outsider
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
                f"The {kind} '{name}' is offered by {len(found)} plugins.", hint=f"Say {' or '.join(found)}."
            )
        if found:
            return next(iter(found.values()))
        if errors:
            raise errors[0]
        raise UnknownNameError(f"There is no {kind} '{name}'.", hint=self._help(kind, name, known()))

    def _help(self, kind: str, name: str, known: list[str]) -> str:
        return " ".join(filter(None, [did_you_mean(name, known), f"'zoo list' shows every {kind}.", self.missing()]))

    def missing(self) -> str:
        """Returns sentences on the plugins that failed or were blocked: what is not found may be theirs."""
        parts = [f"The plugin {plugin.key} failed: {plugin.error}." for plugin in self.failures]
        parts += [f"The plugin {plugin.key} is {plugin.error}." for plugin in self.plugins if plugin.blocked]
        return " ".join(parts)

    def _backbones_of(self, plugin: Plugin, name: str) -> Iterator[BackboneSpec]:
        yield from (offer for offer in plugin.backbones if isinstance(offer, BackboneSpec) and offer.name == name)
        for family in plugin.backbones:
            if isinstance(family, BackboneFamily) and (spec := _resolve(family, name, plugin)) is not None:
                yield spec

    def _known_backbones(self) -> list[str]:
        names = [offer.name for offer in self.backbones()]
        for family, plugin in self.families():
            # These names are for the hint of an error: a family that cannot tell its own must not hide that error.
            with contextlib.suppress(PluginError):
                names += family_names(family, plugin)
        return names


def card_of(offer: Offer[BackboneSpec]) -> BackboneCard:
    """Returns what is known of a backbone; may import its library.

    Raises:
        PluginError: The plugin could not tell.
    """
    card = ask_plugin(offer.plugin, f"telling what is known of '{offer.spec.name}'", offer.spec.card)
    if not isinstance(card, BackboneCard):
        raise PluginError(f"{offer.name}: card returned {type(card).__name__}, not a zoo.BackboneCard.")
    return card


def family_names(family: BackboneFamily, plugin: Plugin) -> list[str]:
    """Returns the qualified names of a family; may import the family's library.

    Raises:
        PluginError: The family could not tell.
    """
    return _ask(lambda: [f"{plugin.qualifier}/{name}" for name in family.names()], "listing its backbones", plugin)


def _resolve(family: BackboneFamily, name: str, plugin: Plugin) -> BackboneSpec | None:
    doing = f"looking for the backbone '{name}'"
    spec = _ask(lambda: family.resolve(name), doing, plugin)
    if spec is not None and not isinstance(spec, BackboneSpec):
        raise _failure(plugin, doing, f"it returned {type(spec).__name__}, not BackboneSpec")
    return spec


def ask_plugin(plugin: Plugin, doing: str, question: Callable[[], T]) -> T:
    """Returns what a plugin answers.

    Args:
        plugin: Which one.
        doing: What it is asked to do, for the message of an error.
        question: Calls it.

    Raises:
        ZooError: As the plugin raises it.
        PluginError: It raised anything else.
    """
    try:
        return question()
    except (KeyboardInterrupt, ZooError):
        raise
    # As at loading: not even sys.exit() in a plugin may end the program.
    except BaseException as error:
        raise _failure(plugin, doing, f"{type(error).__name__}: {error}".strip(": ")) from error


def _ask(question: Callable[[], T], doing: str, plugin: Plugin) -> T:
    """As `ask_plugin`; a `ZooError` is the plugin's failure too, so that another plugin may answer."""
    try:
        return ask_plugin(plugin, doing, question)
    except PluginError:
        raise
    except ZooError as error:
        raise _failure(plugin, doing, f"{type(error).__name__}: {error}") from error


def _failure(plugin: Plugin, doing: str, reason: str) -> PluginError:
    return PluginError(
        f"The plugin {plugin.key} failed while {doing}: {reason}.",
        hint=f"Leave it out with ZOO_BLOCK_PLUGINS={plugin.key}, or tell its author.",
    )


def _named(kind: str) -> Callable[[Plugin, str], Iterator[S]]:
    def offers_of(plugin: Plugin, name: str) -> Iterator[S]:
        return (cast("S", spec) for spec in getattr(plugin, kind) if spec.name == name)

    return offers_of


def load_registry(extra: Mapping[str, object] | None = None) -> Registry:
    """Returns a fresh registry of every plugin announced in this environment.

    Args:
        extra: More plugins, by the distribution name they are to have: for tests and notebooks.

    Importing and asking happen once each; a plugin that fails is in `Registry.plugins` with its error.
    """
    from zoo.plugins.registry import Registry

    candidates = discover()
    for name, plugin in (extra or {}).items():
        candidates.append(Candidate(entry=name, distribution=name, version="", load=functools.partial(_same, plugin)))
    return Registry(load_plugins(candidates, blocked=blocked_names()))


def _same(plugin: object) -> object:
    return plugin
