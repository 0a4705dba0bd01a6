"""The built-in metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import zoo

if TYPE_CHECKING:
    from zoo.plugins.specs import MetricSpec


@zoo.hookimpl
def zoo_metrics() -> list[MetricSpec]:
    """Returns the metrics."""
    return []
