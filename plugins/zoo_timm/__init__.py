"""The built-in plugin for timm: its networks, its optimizers, and an export target. Imports neither torch nor timm.

Every ``zoo --help`` imports it, because it has a command. So even light modules are imported inside its hooks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo import hookimpl

if TYPE_CHECKING:
    from zoo.plugins.specs import BackboneFamily, CheckSpec, ExportTargetSpec, Family


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
def zoo_export_targets() -> list[ExportTargetSpec]:
    """Returns the folder that timm loads."""
    from zoo.plugins.specs import ExportTargetSpec

    return [
        ExportTargetSpec(
            name="timm",
            export="zoo_timm.export:export_to_timm",
            summary="A folder for timm.create_model, with names of classes and preprocessing; for linear heads.",
            usage=('python: timm.create_model("local-dir:{path}", pretrained=True)',),
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
        "Convert a run to a folder that timm loads, as 'zoo export --to timm' does.",
        section="Use a run",
    )
