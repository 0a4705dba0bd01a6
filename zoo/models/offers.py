"""Which backbone and head a configuration names, found and checked before torch is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.plugins.kinds import BACKBONE, HEAD
from zoo.plugins.options import make_options

if TYPE_CHECKING:
    from zoo.config import FinetuneConfig
    from zoo.plugins.registry import Offer, Registry
    from zoo.plugins.specs import BackboneSpec, HeadSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """The plugins' answer to the names in a configuration.

    Attributes:
        backbone: What will be built.
        head: What will be built on it.
        backbone_options: An instance of the backbone's options.
        head_options: An instance of the head's options.
    """

    backbone: Offer[BackboneSpec]
    head: Offer[HeadSpec]
    backbone_options: Any
    head_options: Any


def find_offers(config: FinetuneConfig, registry: Registry) -> Offers:
    """Looks up the names of a configuration, and checks the options given to them. Imports no torch.

    Raises:
        UnknownNameError: No plugin offers the backbone or the head.
        ConfigError: One of their options is wrong.
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
