"""Names the plugin in whose code a training failed."""

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
    """Turns what a backbone or a head raises within a block into an error that names its plugin; other errors pass.

    A module may fail in its forward pass, where its frames are in the traceback; in a backward pass of its own; or in
    one that torch runs for it, where no frame says which of the two it is.

    Raises:
        PluginError: The innermost of these calls that failed belongs to a backbone or a head.
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
        if any(_is_backward(frame) for frame in frames):
            raise PluginError(
                f"The backward pass through {offers.backbone.name} and {offers.head.name} failed: "
                f"{type(error).__name__}: {str(error).strip()}",
                hint=f"The fault is in the plugin {offers.backbone.plugin.key} or {offers.head.plugin.key}: "
                "the contract kit, zoo.testing, finds out more.",
            ) from error
        raise


def _find_owner(frames: list[FrameType], classifier: Classifier) -> str | None:
    """Returns to which part of a classifier the innermost call belongs, of those that belong to one."""
    from zoo.models.frozen_split import FrozenSplit
    from zoo.plugins.contracts import Backbone, Head

    kinds = {Head: "head", Backbone: "backbone", FrozenSplit: "backbone"}
    packages = {_package(type(classifier.head).__module__): "head"}
    packages[_package(type(classifier.backbone).__module__)] = "backbone"
    packages.pop("zoo", None)
    found = None
    for frame in frames:
        caller = frame.f_locals.get("self")
        by_module = packages.get(_package(str(frame.f_globals.get("__name__", ""))))
        found = next((kind for known, kind in kinds.items() if isinstance(caller, known)), by_module or found)
    return found


def _package(module: str) -> str:
    return module.partition(".")[0]


def _is_backward(frame: FrameType) -> bool:
    return frame.f_code.co_name == "backward" and _package(str(frame.f_globals.get("__name__", ""))) == "torch"
