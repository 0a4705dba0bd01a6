"""The built-in plugin that offers torchvision's classification networks. Importing it imports no torch."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from zoo import hookimpl
from zoo.plugins.specs import BackboneCard, BackboneRequest, BackboneSpec, CheckSpec, Finding
from zoo_torchvision.names import FAMILIES

if TYPE_CHECKING:
    from zoo.plugins.contracts import Backbone


@hookimpl
def zoo_backbones() -> list[BackboneSpec]:
    """Returns one spec for each of torchvision's classification networks."""
    return [_spec(name, family.paper) for family in FAMILIES for name in family.names]


def _spec(name: str, paper: str) -> BackboneSpec:
    return BackboneSpec(
        name=name,
        build=functools.partial(_build, name),
        card=functools.partial(_card, name),
        check_pretrained=functools.partial(_check_pretrained, name),
        summary=paper,
    )


def _card(name: str) -> BackboneCard:
    from zoo_torchvision.pretrained import card

    return card(name)


def _build(name: str, request: BackboneRequest) -> Backbone:
    from zoo_torchvision.backbone import build

    return build(name, request)


def _check_pretrained(name: str) -> None:
    from zoo_torchvision.cached import check_pretrained

    check_pretrained(name)


@hookimpl
def zoo_checks() -> list[CheckSpec]:
    """Lets ``zoo doctor`` try torchvision."""
    return [CheckSpec(name="torchvision", run=_check)]


def _check() -> list[Finding]:
    from zoo_torchvision.checks import check

    return check()
