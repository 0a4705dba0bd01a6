"""Finds the plugin in whose code a training failed."""

from __future__ import annotations

import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING

from zoo.errors import PluginError, ZooError
from zoo.plugins.calls import plugin_failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from zoo.models.classifier import Classifier
    from zoo.models.offers import Offers


@contextmanager
def plugin_errors(offers: Offers, classifier: Classifier) -> Iterator[None]:
    """Turns an exception of a backbone or a head in a block into an error that names its plugin; others pass.

    A module can fail in its forward pass, in its own backward pass (`torch.autograd.Function`), or in a backward pass
    of torch. In the last case no frame of the traceback belongs to the module, so the error names both plugins.

    Raises:
        PluginError: The innermost call that failed belongs to a backbone or a head.
    """
    try:
        yield
    except (ZooError, KeyboardInterrupt, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        owner = _find_owner(frames, classifier)
        if owner is not None:
            offer = offers.backbone if owner == "backbone" else offers.head
            raise plugin_failure(offer.plugin, f"training '{offer.spec.name}'", error) from error
        if any(map(_is_backward, frames)):
            plugins = " or ".join(dict.fromkeys(offer.plugin.key for offer in (offers.backbone, offers.head)))
            raise PluginError(
                f"The backward pass through {offers.backbone.name} and {offers.head.name} failed: "
                f"{type(error).__name__}: {str(error).strip()}",
                hint=f"This is probably a fault of the plugin {plugins}: test it with the contract kit, zoo.testing.",
            ) from error
        raise


def _find_owner(frames: list[FrameType], classifier: Classifier) -> str | None:
    """Returns the part of a classifier, ``"backbone"`` or ``"head"``, that the innermost frame belongs to, or None."""
    from zoo.models.frozen_split import FrozenSplit
    from zoo.plugins.contracts import Backbone, Head

    kinds = {Head: "head", Backbone: "backbone", FrozenSplit: "backbone"}
    packages = {_package(type(classifier.head).__module__): "head"}
    packages[_package(type(classifier.backbone).__module__)] = "backbone"
    packages.pop("zoo", None)
    owner, in_backward = None, False
    for frame in frames:
        caller = frame.f_locals.get("self")
        by_type = next((kind for known, kind in kinds.items() if isinstance(caller, known)), None)
        # A backward function has no module as its `self`; the package that it is written in tells whose it is.
        by_package = packages.get(_package(_module(frame))) if in_backward else None
        owner = by_type or by_package or owner
        in_backward = in_backward or _is_backward(frame)
    return owner


def _is_backward(frame: FrameType) -> bool:
    return frame.f_code.co_name == "backward" and _package(_module(frame)) == "torch"


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _package(module: str) -> str:
    return module.partition(".")[0]
