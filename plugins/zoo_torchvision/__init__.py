"""The built-in plugin that provides torchvision's classification networks. Importing it imports no torch."""

from __future__ import annotations

from zoo import hookimpl
from zoo.plugins.calls import lazy
from zoo.plugins.specs import BackboneSpec, CheckSpec
from zoo_torchvision.names import FAMILIES


@hookimpl
def zoo_backbones() -> list[BackboneSpec]:
    """Returns a spec for each of torchvision's classification networks."""
    return [_spec(name, family.paper) for family in FAMILIES for name in family.names]


@hookimpl
def zoo_checks() -> list[CheckSpec]:
    """Returns the check that torchvision works."""
    return [CheckSpec(name="torchvision", run="zoo_torchvision.checks:check_installation")]


def _spec(name: str, paper: str) -> BackboneSpec:
    return BackboneSpec(
        name=name,
        build=lazy("zoo_torchvision.backbone:build", name),
        card=lazy("zoo_torchvision.pretrained:card", name),
        check_pretrained=lazy("zoo_torchvision.checks:check_pretrained", name),
        is_local=lazy("zoo_torchvision.cache:is_local", name),
        summary=paper,
    )
