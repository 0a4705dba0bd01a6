"""Finds the plugin in whose code a training or a prediction failed."""

from __future__ import annotations

import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from zoo.errors import ConfigError, PluginError, ZooError
from zoo.models.memory_errors import is_out_of_memory
from zoo.plugins.calls import describe_exception, plugin_failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from zoo.models.classifier import Classifier
    from zoo.models.offers import Offers
    from zoo.plugins.registry import Offer
    from zoo.plugins.specs import OptimizerSpec


_SINGLE_VALUE = "Expected more than 1 value per channel when training"  # of torch's normalisations


@contextmanager
def plugin_errors(
    offers: Offers,
    classifier: Classifier,
    *,
    action: str = "training",
    optimizer: Offer[OptimizerSpec] | None = None,
) -> Iterator[None]:
    """Turns an exception of a backbone, a head, a loss or an optimizer in a block into an error that names its plugin.

    Others pass.

    A module can fail in its forward pass, in its own backward pass (`torch.autograd.Function`), or in a backward pass
    of torch. In the last case no frame of the traceback belongs to the module, so the error names all plugins.

    Args:
        offers: The backbone, the head and the loss.
        classifier: The classifier that was built from them.
        action: What the block does with them, for messages.
        optimizer: The optimizer of the block.

    Raises:
        PluginError: The innermost call that failed belongs to one of them.
        ConfigError: A batch normalisation got a single value, which is the fault of the batch size.
    """
    try:
        yield
    except (ZooError, KeyboardInterrupt, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, ValueError) and _SINGLE_VALUE in str(error):
            raise _single_photo_error() from error
        if is_out_of_memory(error):
            raise
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        owner = _find_owner(frames, classifier)
        if owner == "optimizer" and optimizer is not None:
            raise plugin_failure(optimizer.plugin, f"taking a step of '{optimizer.spec.name}'", error) from error
        if owner == "loss" and (offers.loss is None or offers.loss.offer.plugin.built_in):
            owner = "head"  # it calls a tested loss with something that it does not accept
        if owner in ("backbone", "head", "loss"):
            offer = _offer_of(owner, offers)
            raise plugin_failure(offer.plugin, f"{action} '{offer.spec.name}'", error) from error
        if any(map(_is_backward, frames)):
            involved: list[Offer[Any]] = [offers.backbone, offers.head]
            if offers.loss is not None and not offers.loss.offer.plugin.built_in:
                involved.append(offers.loss.offer)
            plugins = " or ".join(dict.fromkeys(offer.plugin.key for offer in involved))
            raise PluginError(
                f"The backward pass through {' and '.join(offer.name for offer in involved)} failed: "
                f"{describe_exception(error)}",
                hint=f"This is probably a fault of the plugin {plugins}: test it with the contract kit, zoo.testing.",
            ) from error
        raise


def _offer_of(owner: str, offers: Offers) -> Offer[Any]:
    if owner == "loss" and offers.loss is not None:
        return offers.loss.offer
    return offers.backbone if owner == "backbone" else offers.head


def _single_photo_error() -> ConfigError:
    return ConfigError(
        "A batch normalisation cannot be trained with a single photo per step: it has no statistics of one value.",
        hint="Pass --batch-size 2 or more, or choose a network and a head without batch normalisation.",
    )


def _find_owner(frames: list[FrameType], classifier: Classifier) -> str | None:
    """Returns the owner of the innermost frame: ``"backbone"``, ``"head"``, ``"loss"``, ``"optimizer"`` or None."""
    import torch

    from zoo.models.frozen_split import FrozenSplit
    from zoo.plugins.contracts import Backbone, Head
    from zoo.plugins.criterion import Criterion

    kinds = {Head: "head", Backbone: "backbone", FrozenSplit: "backbone", Criterion: "loss"}
    kinds[torch.optim.Optimizer] = "optimizer"
    packages = {_package(getattr(classifier.head.criterion.function, "__module__", "") or ""): "loss"}
    packages |= {_package(type(classifier.head).__module__): "head"}
    packages[_package(type(classifier.backbone).__module__)] = "backbone"
    for name in ("zoo", "torch", ""):
        packages.pop(name, None)
    owner, in_backward = None, False
    for frame in frames:
        caller = frame.f_locals.get("self")
        by_type = next((kind for known, kind in kinds.items() if isinstance(caller, known)), None)
        # A backward function has no module as its `self`; the package that it is written in tells whose it is.
        by_package = packages.get(_package(_module(frame))) if in_backward else None
        if owner == "optimizer" and _package(_module(frame)) == "zoo":  # its closure, which is the engine's
            owner = None
        owner = by_type or by_package or owner
        in_backward = in_backward or _is_backward(frame)
    return owner


def _is_backward(frame: FrameType) -> bool:
    return frame.f_code.co_name == "backward" and _package(_module(frame)) == "torch"


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _package(module: str) -> str:
    return module.partition(".")[0]
