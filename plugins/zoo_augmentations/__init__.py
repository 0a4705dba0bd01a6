"""The built-in augmentations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import zoo

if TYPE_CHECKING:
    from zoo.plugins.specs import AugmentationSpec


@zoo.hookimpl
def zoo_augmentations() -> list[AugmentationSpec]:
    """Returns the augmentations."""
    return []
