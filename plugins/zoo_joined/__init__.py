"""The built-in plugin that joins backbones: ``efficientnet_lite0+efficientnet_lite2`` has the features of both.

Networks that were trained apart see different things, so that a linear head on the features of two is often better than
one on those of the larger alone. Importing this plugin imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo import hookimpl

if TYPE_CHECKING:
    from zoo.plugins.specs import BackboneFamily


@hookimpl
def zoo_backbones() -> list[BackboneFamily]:
    """Returns the joined backbones as one family: any backbones, with ``+`` between their names."""
    from zoo.plugins.specs import BackboneFamily  # not for ``zoo --help``, which imports all plugins

    return [
        BackboneFamily(
            name="joined",
            names="zoo_joined.family:list_names",
            resolve="zoo_joined.family:resolve",
            summary="Several backbones as one, with + between their names: efficientnet_lite0+efficientnet_lite2.",
        )
    ]
