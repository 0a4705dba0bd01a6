"""Keeps the features of networks between the attempts of a search, so that each runs once over the photos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.models.nested import flatten_tensors
from zoo.utils.machine import available_memory

if TYPE_CHECKING:
    from zoo.training.best.attempts import Attempt

_SHARE = 16  # of the available memory, features may use one part
_UNKNOWN_MEMORY = 4 << 30


class FeatureStore:
    """The features of the frozen networks of attempts. Those that were used longest ago go first.

    Args:
        budget: Bytes that they may use together; by default a sixteenth of the available memory.
    """

    def __init__(self, budget: int | None = None) -> None:
        self._budget = (available_memory() or _UNKNOWN_MEMORY) // _SHARE if budget is None else budget
        self._stored: dict[tuple[Any, ...], dict[tuple[Any, ...], Any]] = {}

    def find(self, attempt: Attempt) -> dict[tuple[Any, ...], Any]:
        """Returns what attempts with the same backbone, image size and photos share; a training adds to it."""
        source = attempt.source
        options = sorted(source.options.items())
        key = (source.backbone, source.weights, *options, attempt.image_size, attempt.photos)
        self._stored[key] = self._stored.pop(key, {})
        while len(self._stored) > 1 and sum(map(_count_bytes, self._stored.values())) > self._budget:
            del self._stored[next(iter(self._stored))]
        return self._stored[key]


def _count_bytes(features: dict[tuple[Any, ...], Any]) -> int:
    return sum(tensor.nbytes for each in features.values() for tensor in flatten_tensors(each))
