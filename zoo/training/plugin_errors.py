"""Finds the plugin in whose code training failed, so that the error names it."""

from __future__ import annotations

import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING

from zoo.errors import PluginError, ZooError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zoo.models.offers import Offers


@contextmanager
def plugin_errors(offers: Offers) -> Iterator[None]:
    """Turns what a backbone or a head raises within a block into an error that names it; other errors pass.

    Raises:
        PluginError: The innermost call in the traceback, of those to a backbone or a head, raised something.
    """
    try:
        yield
    except (ZooError, KeyboardInterrupt, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        kind = _whose(error)
        if kind is None:
            raise
        offer = offers.backbone if kind == "backbone" else offers.head
        reason = f"{type(error).__name__}: {error}".strip(": ").partition("\n")[0]
        raise PluginError(
            f"{offer.name} failed in training: {reason}.",
            hint=f"The fault may lie in the plugin {offer.plugin.key}: the contract kit, zoo.testing, finds out more.",
        ) from error


def _whose(error: BaseException) -> str | None:
    from zoo.models.frozen_split import FrozenSplit
    from zoo.plugins.contracts import Backbone, Head

    kinds = {Head: "head", Backbone: "backbone", FrozenSplit: "backbone"}
    found = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        caller = frame.f_locals.get("self")
        found = next((kind for known, kind in kinds.items() if isinstance(caller, known)), found)
    return found
