"""Recipes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zoo.plugins.specs.base import Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeSpec(Spec):
    """Values that replace the defaults of `zoo.FinetuneConfig`; values given by the user take precedence.

    Attributes:
        values: The values for every run, by the names of the fields.
        from_scratch: Replace some of `values` if ``weights="none"``.
        frozen: Replace some of `values` if ``freeze="all"``.
        extends: The name of the recipe whose values these replace, or empty.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    from_scratch: Mapping[str, Any] = field(default_factory=dict)
    frozen: Mapping[str, Any] = field(default_factory=dict)
    extends: str = ""
