"""The family of joined backbones: their names, cards and weights are those of their members. Imports no torch."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from zoo.plugins.calls import lazy
from zoo.plugins.kinds import BACKBONE
from zoo.plugins.registry import get_card, is_local, load_registry
from zoo.plugins.specs import BackboneCard, BackboneSpec, WeightsInfo

if TYPE_CHECKING:
    from zoo.plugins.registry import Offer

SEPARATOR = "+"


def resolve(name: str) -> BackboneSpec | None:
    """Returns the spec of a joined backbone (``efficientnet_lite0+resnet18``); None for the name of a single one."""
    members = name.split(SEPARATOR)
    if len(members) < 2 or not all(members) or len(set(members)) < len(members):
        return None
    return BackboneSpec(
        name=name,
        summary=f"The features of {' and '.join(members)}.",
        build=lazy("zoo_joined.backbone:build", name),
        card=lazy("zoo_joined.family:make_card", name),
        check_pretrained=lazy("zoo_joined.family:check_pretrained", name),
        is_local=lazy("zoo_joined.family:are_local", name),
    )


def list_names() -> list[str]:
    """Returns examples: the backbones of this machine in pairs, or if it has fewer than two, any two."""
    registry = load_registry()
    offers = [offer for offer in registry.offers(BACKBONE) if offer.plugin.built_in]
    local = [offer for offer in offers if is_local(offer)]
    names = dict.fromkeys(offer.spec.name for offer in (local if len(local) > 1 else offers[:2]))
    return [SEPARATOR.join(pair) for pair in combinations(names, 2)]


def find_members(name: str) -> list[Offer[BackboneSpec]]:
    """Returns the backbones that a name joins.

    Raises:
        UnknownNameError: There is no backbone of one of the names.
    """
    registry = load_registry()
    return [registry.find(BACKBONE, member) for member in name.split(SEPARATOR)]


def make_card(name: str) -> BackboneCard:
    """Returns the preprocessing of the member that was trained on the largest images, and the weights of all."""
    cards = [get_card(member) for member in find_members(name)]
    preprocess = max((card.preprocess for card in cards), key=lambda each: each.size)
    weights = [card.weights for card in cards if card.weights is not None]
    if len(weights) < len(cards):
        return BackboneCard(preprocess=preprocess)
    licences = dict.fromkeys(each.licence or "unknown" for each in weights)
    joined = WeightsInfo(
        name=" + ".join(dict.fromkeys(each.name for each in weights)),
        source="; ".join(dict.fromkeys(each.source for each in weights)),
        licence=" and ".join(licences),
    )
    return BackboneCard(preprocess=preprocess, weights=joined)


def check_pretrained(name: str) -> None:
    """Raises a `WeightsError` if the pretrained weights of a member are certainly not available."""
    for member in find_members(name):
        member.call("checking the weights of", member.spec.check_pretrained)


def are_local(name: str) -> bool:
    """Returns whether the pretrained weights of all members are on this machine."""
    return all(map(is_local, find_members(name)))
