"""Models on hubs: ``hf:user/name`` can be written wherever a run, a file or a tag can."""

from __future__ import annotations

import os
import re

from zoo.errors import UnknownNameError, did_you_mean
from zoo.plugins.calls import plugin_failure
from zoo.plugins.kinds import HUB
from zoo.plugins.registry import Registry, load_registry
from zoo.plugins.specs import FetchedModel, FetchRequest, Wanted

# At least two letters: one is a drive of Windows. Two slashes: an address of something else.
_REFERENCE = re.compile(r"(?P<hub>[a-z][a-z0-9_.\-]+):(?!//)(?P<model>.+)", re.DOTALL)


def fetch_model(
    reference: str | os.PathLike[str], wanted: Wanted, *, registry: Registry | None = None
) -> FetchedModel | None:
    """Returns the local copy of a model on a hub, or None if the text does not begin with the name of a hub.

    Args:
        reference: What the user wrote: ``"hf:anna/hotdog"``. An existing path is never taken for a reference.
        wanted: As in `FetchRequest`.
        registry: The plugins; by default all that are installed.

    Raises:
        UnknownNameError: There is no such hub, but one of nearly the same name.
        AmbiguousNameError: Two plugins offer a hub of this name.
        PluginError: The plugin of the hub failed.
        ZooError: The hub does not have the model, or it cannot be fetched.
    """
    match = _match(reference)
    if match is None:
        return None
    registry = registry or load_registry()
    names = [offer.spec.name for offer in registry.offers(HUB)]
    if match["hub"] not in names:
        if near := did_you_mean(match["hub"], names):
            raise UnknownNameError(f"There is no hub '{match['hub']}'.", hint=near)
        return None
    offer = registry.find(HUB, match["hub"])
    request = FetchRequest(reference=match["model"], wanted=wanted)
    fetched = offer.call("fetching from", offer.spec.fetch, request)
    if not isinstance(fetched, FetchedModel) or not fetched.path.exists():
        reason = f"it returned {fetched!r:.200}, not a zoo.FetchedModel with an existing path"
        raise plugin_failure(offer.plugin, f"fetching {match[0]}", reason)
    return fetched


def is_on_hub(reference: str | os.PathLike[str], *, registry: Registry | None = None) -> bool:
    """Returns whether a text refers to a model on a hub that a plugin offers; fetches nothing."""
    match = _match(reference)
    return match is not None and any(
        offer.spec.name == match["hub"] for offer in (registry or load_registry()).offers(HUB)
    )


def _match(reference: str | os.PathLike[str]) -> re.Match[str] | None:
    text = os.fspath(reference)
    if not isinstance(text, str) or os.path.exists(text):  # noqa: PTH110  pathlib raises if there is a null byte
        return None
    return _REFERENCE.fullmatch(text)
