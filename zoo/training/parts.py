"""The parts of a training that plugins offer, besides backbone, head, loss and data: found by name, options checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.config import FinetuneConfig
    from zoo.plugins.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a configuration names, each with its options."""


def find_parts(config: FinetuneConfig, registry: Registry) -> Parts:
    """Returns the parts that a configuration names. Imports no torch.

    Raises:
        UnknownNameError: No plugin offers a name.
        ConfigError: An option is unknown, missing or invalid.
    """
    return Parts()
