"""Finds the backbones that a search can try: those whose weights are on this machine, and those that the user names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.config import make_config
from zoo.errors import ConfigError, did_you_mean
from zoo.models.backbone_choice import choose_backbone, list_local_backbones
from zoo.models.offers import find_offers
from zoo.plugins.kinds import BACKBONE
from zoo.plugins.registry import get_card
from zoo.training.best.attempts import Source
from zoo.training.request import find_weights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zoo.plugins.registry import Registry


def find_sources(
    named: Sequence[str], options: Mapping[str, Any], *, only: bool, registry: Registry
) -> tuple[Source, ...]:
    """Returns the backbones that a search tries; those on this machine first, the best of them before all.

    Args:
        named: Backbones that the user names, ``"resnet18"`` or ``"resnet18=FILE"`` with a file of weights or a run.
        options: Options of backbones, each with the name of its backbone before the last dot.
        only: Whether to try no others than these.
        registry: The plugins.

    Raises:
        ConfigError: A backbone is named twice, an option belongs to none of them, or `only` leaves none.
        UnknownNameError: No plugin offers a backbone.
        WeightsError: A file of weights is missing, or no weights are at hand.
    """
    if only and not named:
        raise ConfigError("No backbone is left to try.", hint="Name some with --backbone, or leave out --only.")
    given = dict(_split(text) for text in named)
    if len(given) < len(named):
        raise ConfigError("A backbone is named twice.", hint="Give each --backbone once.")
    weights = {} if only else dict.fromkeys(list_local_backbones(registry), "pretrained")
    weights |= given
    if not weights:
        weights = {choose_backbone(registry).name: "pretrained"}
    of_backbone = _sort_options(options, tuple(weights))
    return tuple(_make(name, path, of_backbone.get(name, {}), registry) for name, path in weights.items())


def _split(text: str) -> tuple[str, str]:
    name, separator, weights = text.partition("=")
    if not name or (separator and not weights):
        raise ConfigError(f"'{text}' is not NAME or NAME=FILE.", hint="For example resnet18=resnet18.safetensors.")
    return name, weights or "pretrained"


def _sort_options(options: Mapping[str, Any], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Returns the options of each backbone, by its name."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in options.items():
        name, _, option = key.rpartition(".")
        if name not in names:
            near = did_you_mean(name, names)
            raise ConfigError(
                f"The backbone option '{key}' belongs to none of the backbones to try.",
                hint=f"{near} Write BACKBONE.OPTION=VALUE, for example {names[0]}.{option}={value}.".strip(),
            )
        found.setdefault(name, {})[option] = value
    return found


def _make(name: str, weights: str, options: Mapping[str, Any], registry: Registry) -> Source:
    """Returns a backbone to try, after checking its name, its options and its file."""
    # The data is not looked at.
    config = make_config(name, data=".", weights=weights, backbone_options=options, registry=registry)
    find_weights(config)
    offer = find_offers(config, registry).backbone
    size = get_card(registry.find(BACKBONE, name)).preprocess.size
    if config.weights == "pretrained":
        offer.call("checking the weights of", offer.spec.check_pretrained)
    return Source(backbone=name, weights=weights, options=dict(options), image_size=max(size))
