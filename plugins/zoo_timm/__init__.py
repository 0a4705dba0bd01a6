"""The built-in plugin that provides the networks and optimizers of timm. Importing it imports neither torch nor timm.

Every ``zoo --help`` imports it, because it has a command. So even light modules are imported inside its hooks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo import hookimpl

if TYPE_CHECKING:
    from zoo.plugins.specs import BackboneFamily, CheckSpec, Family


@hookimpl
def zoo_backbones() -> list[BackboneFamily]:
    """Returns timm's networks as one family, by their names with and without the tags of their weights."""
    from zoo.plugins.specs import BackboneFamily

    return [
        BackboneFamily(
            name="timm",
            names="zoo_timm.family:list_names",
            resolve="zoo_timm.family:resolve",
            local_names="zoo_timm.family:list_local_names",
            known_names="zoo_timm.family:list_known_names",
            summary="All networks of timm, under the names that timm gives them.",
        )
    ]


@hookimpl
def zoo_optimizers() -> list[Family]:
    """Returns timm's optimizers as one family, except the one that needs second derivatives."""
    from zoo.plugins.specs import Family

    return [
        Family(
            name="timm",
            names="zoo_timm.optimizers:list_names",
            resolve="zoo_timm.optimizers:resolve",
            known_names="zoo_timm.optimizers:list_known_names",
            summary="All optimizers of timm, under the names that timm gives them.",
        )
    ]


@hookimpl
def zoo_checks() -> list[CheckSpec]:
    """Returns the check that timm works."""
    from zoo.plugins.specs import CheckSpec

    return [CheckSpec(name="timm", run="zoo_timm.checks:check_installation")]


@hookimpl
def zoo_commands(cli: Any) -> None:
    """Adds ``zoo convert``."""
    cli.add_lazy(
        "convert",
        "zoo_timm.convert_command:command",
        "Convert a run to a folder that timm loads.",
        section="Use a run",
    )
