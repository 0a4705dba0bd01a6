"""Finds backbone, head and loss of a configuration and checks their options, without importing torch."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from zoo.errors import PluginError, UnknownNameError
from zoo.plugins.kinds import BACKBONE, HEAD, LOSS
from zoo.plugins.options import describe_options
from zoo.utils.paths import has_file_suffix

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from zoo.config import FinetuneConfig
    from zoo.plugins.registry import Choice, Offer, Registry
    from zoo.plugins.specs import BackboneSpec, HeadSpec, LossSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """The backbone, the head and the loss of a configuration.

    Attributes:
        backbone: The backbone.
        head: The head.
        backbone_options: An instance of the options of the backbone.
        head_options: An instance of the options of the head.
        loss: The loss and its options; None in a finished run, which needs none.
    """

    backbone: Offer[BackboneSpec]
    head: Offer[HeadSpec]
    backbone_options: Any
    head_options: Any
    loss: Choice[LossSpec] | None = None


def find_offers(config: FinetuneConfig, registry: Registry, *, for_training: bool = True) -> Offers:
    """Returns what a configuration names, with validated options.

    Does not import torch, unless the library of the backbone is needed to know an option (`BackboneSpec.all_options`).

    Args:
        config: The configuration.
        registry: The plugins.
        for_training: Whether to find the loss, too.

    Raises:
        UnknownNameError: No plugin offers the backbone, the head or the loss.
        ConfigError: One of their options is invalid.
    """
    backbone, head = _find_backbone(config.backbone, registry), registry.find(HEAD, config.head)
    return Offers(
        backbone=backbone,
        head=head,
        backbone_options=backbone.make_options(
            config.backbone_options,
            owner=f"backbone {config.backbone}",
            options=find_options(backbone, config.backbone_options),
        ),
        head_options=head.make_options(config.head_options, owner=f"head {config.head}"),
        loss=registry.choose(LOSS, config.loss, config.loss_options) if for_training else None,
    )


def _find_backbone(name: str, registry: Registry) -> Offer[BackboneSpec]:
    try:
        return registry.find(BACKBONE, name)
    except UnknownNameError as error:
        # A qualified name looks like a path, too.
        if has_file_suffix(name) or name.startswith((".", "~", "/")) or os.path.exists(name):  # noqa: PTH110
            error.hint = f"It is a path: photos are passed with --data, weights with --weights. {error.hint}"
        raise


def find_options(offer: Offer[BackboneSpec], given: Collection[str] | None = None) -> type[Any]:
    """Returns the options of a backbone that the user may pass.

    Args:
        offer: The backbone.
        given: The names of those that the user passes; None for all that there are, which may import its library.

    Raises:
        ConfigError: The backbone refuses one of them.
    """
    spec, names = offer.spec, {name.replace("-", "_") for name in given or ()}
    if spec.all_options is None or (
        given is not None and names <= {each.name for each in describe_options(spec.options)}
    ):
        return spec.options
    options = offer.call("listing the options of", spec.all_options, names)
    if not isinstance(options, type) or not issubclass(options, spec.options):
        raise PluginError(f"{offer.name}: all_options did not return a dataclass that extends its options.")
    return options


def with_head_options(offers: Offers, options: Mapping[str, Any]) -> Offers:
    """Returns the same offers with other options of the head.

    Raises:
        ConfigError: One of the options is invalid.
    """
    head = offers.head
    return replace(offers, head_options=head.make_options(options, owner=f"head {head.spec.name}"))
