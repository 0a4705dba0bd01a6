"""The built-in plugin that offers every network of timm, as a family. Importing it imports neither torch nor timm.

It has a command, so every ``zoo --help`` imports it: even light modules are imported inside the functions.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from zoo import hookimpl

if TYPE_CHECKING:
    from zoo.plugins.contracts import Backbone
    from zoo.plugins.specs import BackboneCard, BackboneFamily, BackboneRequest, BackboneSpec, CheckSpec, Finding


@hookimpl
def zoo_backbones() -> list[BackboneFamily]:
    """Returns one family: timm's networks, with and without the tags of their weights."""
    from zoo.plugins.specs import BackboneFamily
    from zoo_timm.names import names

    return [BackboneFamily(name="timm", names=names, resolve=resolve, summary="every network of timm, by timm's name")]


@hookimpl
def zoo_commands(cli: Any) -> None:
    """Adds ``zoo convert``."""
    cli.add_lazy(
        "convert", "zoo_timm.command:command", "Convert a run to a folder that timm loads.", section="Use a run"
    )


def resolve(name: str) -> BackboneSpec | None:
    """Returns the spec of one of timm's names (``resnet50d``, ``resnet18.a1_in1k``), or None."""
    from zoo.plugins.specs import BackboneSpec
    from zoo_timm.names import names
    from zoo_timm.options import TimmOptions

    if name not in names():
        return None
    return BackboneSpec(
        name=name,
        build=functools.partial(_build, name),
        card=functools.partial(_card, name),
        check_pretrained=functools.partial(_check_pretrained, name),
        summary=f"timm's {name}",
        options=TimmOptions,
    )


def _card(name: str) -> BackboneCard:
    from zoo_timm.pretrained import card

    return card(name)


def _build(name: str, request: BackboneRequest) -> Backbone:
    from zoo_timm.backbone import build

    return build(name, request)


def _check_pretrained(name: str) -> None:
    from zoo_timm.cached import check_pretrained

    check_pretrained(name)


@hookimpl
def zoo_checks() -> list[CheckSpec]:
    """Lets ``zoo doctor`` try timm."""
    from zoo.plugins.specs import CheckSpec

    return [CheckSpec(name="timm", run=_check)]


def _check() -> list[Finding]:
    from zoo_timm.checks import check

    return check()
