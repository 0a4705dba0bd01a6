"""zoo.models.stages."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from zoo.errors import PluginError

if TYPE_CHECKING:
    from zoo.plugins.contracts import Backbone, Stage


def check_stages(backbone: Backbone, name: str) -> tuple[Stage, ...]:
    """Returns the stages of a backbone.

    Raises:
        PluginError: A parameter is in no stage, in two, or does not exist.
    """
    stages = backbone.stages()
    told = Counter(parameter for stage in stages for parameter in stage.parameters)
    known = {parameter for parameter, _ in backbone.named_parameters()}
    if twice := [parameter for parameter, count in told.items() if count > 1]:
        raise PluginError(f"{name}: the parameter '{min(twice)}' is in two stages.")
    if wrong := set(told) ^ known:
        raise PluginError(f"{name}: stages() and named_parameters() disagree about '{min(wrong)}'.")
    return stages
