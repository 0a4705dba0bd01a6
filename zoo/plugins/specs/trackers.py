"""Trackers of experiments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from zoo.events import Event
from zoo.plugins.specs.base import Spec


class Tracker(Protocol):
    """Receives the events of a run, in a thread of its own: nothing it does delays or ends the training."""

    def track(self, event: Event) -> None:
        """Receives an event: `zoo.events` has their types."""

    def close(self, status: str) -> None:
        """Ends the tracking; `status` is ``"finished"``, ``"interrupted"`` or ``"failed"``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerRequest:
    """The argument of `TrackerSpec.start`.

    Attributes:
        folder: The run folder, in which the tracker may keep files of its own.
        config: The configuration, as plain values.
        resumed: Whether the run was tracked before, so that the same run of the tracker continues.
        group: A name that the runs of a comparison share, or empty.
        options: An instance of `TrackerSpec.options`.
    """

    folder: Path
    config: dict[str, Any]
    options: Any
    resumed: bool = False
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerSpec(Spec):
    """A tracker.

    Attributes:
        start: Returns a `Tracker`. Raises a `ZooError` if the run cannot be tracked: its library is not installed, its
            server does not answer.
    """

    start: Callable[[TrackerRequest], Tracker] | str
