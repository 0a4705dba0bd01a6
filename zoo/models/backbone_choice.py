"""Finds the backbones whose pretrained weights are on this machine, and the best of them. Imports no torch."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from zoo.errors import PluginError, WeightsError
from zoo.plugins.kinds import BACKBONE
from zoo.plugins.options import needs_options
from zoo.plugins.registry import is_local, list_local_names, shortest_names
from zoo.plugins.specs import no_check

if TYPE_CHECKING:
    from zoo.plugins.registry import Offer, Registry
    from zoo.plugins.specs import BackboneSpec

# By the accuracy of a linear probe over eight datasets (docs/recipes.md). All others come after these.
_BEST_FIRST = (
    "efficientnet_lite/efficientnet_lite0",
    "efficientnet_lite/efficientnet_lite1",
    "efficientnet_lite/efficientnet_lite2",
    "torchvision/resnet18",
)
# What to train from scratch where no pretrained weights are to be found.
FROM_SCRATCH = "resnet18"


class BackboneChoice(NamedTuple):
    """A backbone that was chosen for the user.

    Attributes:
        name: A name that finds it.
        reason: Why it was chosen: ``"none given; its pretrained weights are on this machine"``.
    """

    name: str
    reason: str


def list_local_backbones(registry: Registry) -> list[str]:
    """Returns names of the backbones whose pretrained weights are on this machine, best first.

    Those that need an option are left out.
    """
    local: dict[str, str] = {}
    for name, offer in _choosable(registry).items():
        # A plugin that fails to tell must not keep users from the others; `zoo list` reports it.
        with contextlib.suppress(PluginError):
            if is_local(offer):
                local[offer.name] = name
    for family, plugin in registry.families(BACKBONE):
        with contextlib.suppress(PluginError):
            local |= {name: name for name in list_local_names(family, plugin)}
    return [local.pop(name) for name in _BEST_FIRST if name in local] + list(local.values())


def list_available_backbones(registry: Registry) -> list[str]:
    """Returns names of the backbones whose pretrained weights are on this machine or can be downloaded now.

    The local ones come first, best first. Asks one server for each plugin, which takes up to five seconds without a
    network. The weights of plugins that have no check count as available if any server answers.
    """
    local = list_local_backbones(registry)
    others = {name: offer for name, offer in _choosable(registry).items() if name not in local}
    samples = {
        offer.plugin.key: offer for offer in reversed(others.values()) if offer.spec.check_pretrained != no_check
    }
    answers = {key: _can_download(offer) for key, offer in samples.items()}
    online = any(answers.values())
    return local + [name for name, offer in others.items() if answers.get(offer.plugin.key, online)]


def choose_backbone(registry: Registry) -> BackboneChoice:
    """Returns the best backbone whose pretrained weights are on this machine, or else one that can be downloaded.

    Raises:
        WeightsError: No pretrained weights are on this machine, and none can be downloaded.
    """
    local = list_local_backbones(registry)
    if local:
        return BackboneChoice(local[0], "none given; its pretrained weights are on this machine")
    names = {offer.name: name for name, offer in shortest_names(registry.offers(BACKBONE)).items()}
    for qualified in filter(names.__contains__, _BEST_FIRST):
        if _can_download(registry.find(BACKBONE, qualified)):
            return BackboneChoice(names[qualified], "none given; its pretrained weights can be downloaded")
    raise WeightsError(
        "No backbone was named, no pretrained weights are on this machine, and none can be downloaded.",
        hint="Name a backbone; 'zoo list --kind backbones' lists them.",
        offline=True,
    )


def _choosable(registry: Registry) -> dict[str, Offer[BackboneSpec]]:
    offers = shortest_names(registry.offers(BACKBONE))
    return {name: offer for name, offer in offers.items() if not needs_options(offer.spec.options)}


def _can_download(offer: Offer[BackboneSpec]) -> bool:
    with contextlib.suppress(WeightsError, PluginError):
        offer.call("checking the weights of", offer.spec.check_pretrained)
        return True
    return False
