"""Puts the packages of finetune-zoo-runtime, which lie in several folders of the project, into its wheel.

The setting ``force-include`` would copy them into editable installations, too.
"""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class RuntimeBuildHook(BuildHookInterface[Any]):
    """Adds the packages to a wheel that is not editable; `dev-mode-dirs` is for one that is."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before each wheel; `version` is ``"standard"`` or ``"editable"``."""
        if version == "standard":
            build_data["force_include"] |= self.config["packages"]
