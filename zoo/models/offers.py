"""Finds the backbone and the head of a configuration and checks their options, without importing torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from zoo.plugins.kinds import BACKBONE, HEAD
from zoo.plugins.options import make_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoo.config import FinetuneConfig
    from zoo.plugins.registry import Offer, Registry
    from zoo.plugins.specs import BackboneSpec, HeadSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """The backbone and the head of a configuration.

    Attributes:
        backbone: The backbone.
        head: The head.
        backbone_options: An instance of the options of the backbone.
        head_options: An instance of the options of the head.
    """

    backbone: Offer[BackboneSpec]
    head: Offer[HeadSpec]
    backbone_options: Any
    head_options: Any


def find_offers(config: FinetuneConfig, registry: Registry) -> Offers:
    """Returns the backbone and the head that a configuration names, with validated options. Does not import torch.

    Raises:
        UnknownNameError: No plugin offers the backbone or the head.
        ConfigError: One of their options is invalid.
    """
    backbone, head = registry.find(BACKBONE, config.backbone), registry.find(HEAD, config.head)
    return Offers(
        backbone=backbone,
        head=head,
        backbone_options=make_options(
            backbone.spec.options, config.backbone_options, owner=f"backbone {config.backbone}"
        ),
        head_options=make_options(head.spec.options, config.head_options, owner=f"head {config.head}"),
    )


def with_head_options(offers: Offers, options: Mapping[str, Any]) -> Offers:
    """Returns the same backbone and head with other options of the head.

    Raises:
        ConfigError: One of the options is invalid.
    """
    head = offers.head
    return replace(offers, head_options=make_options(head.spec.options, options, owner=f"head {head.spec.name}"))
