"""Trackers of experiments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from zoo.events import Event
from zoo.plugins.specs.base import Spec


class Tracker(Protocol):
    """Receives the events of a run, in a thread of its own: nothing that it does delays or ends the training.

    It prints nothing, and draws no random numbers from global generators, which belong to the training.
    """

    def track(self, event: Event) -> None:
        """Receives an event: `zoo.events` has their types. What it raises becomes one warning; later events follow."""

    def close(self, status: str) -> None:
        """Ends the tracking; `status` is ``"finished"``, ``"interrupted"`` or ``"failed"``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerRequest:
    """The argument of `TrackerSpec.start`.

    Attributes:
        run: The run folder; its name is that of the run. When `zoo.events.Finished` arrives, it has ``run.json``,
            ``model.safetensors``, and ``curves.png``, ``confusion.png`` and ``mistakes.png`` if they were written.
        folder: An existing folder of this tracker below it, for files of its own. They stay when the run is resumed.
        config: The fields of `zoo.FinetuneConfig` as plain values, without ``tracker_options``.
        options: An instance of `TrackerSpec.options`.
        resumed: Whether the run was started before, so that its tracking continues.
        group: A name that all runs of a comparison share, or empty.
    """

    run: Path
    folder: Path
    config: dict[str, Any]
    options: Any
    resumed: bool = False
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerSpec(Spec):
    """A tracker.

    Attributes:
        start: Returns a `Tracker`. Called in the thread of the tracker, once the run folder exists.
        needs: The modules that `start` imports and that may not be installed: ``("mlflow",)``. Without them no run
            starts.
        install: What to install for them, as for pip: ``"finetune-zoo[mlflow]"``.
    """

    start: Callable[[TrackerRequest], Tracker] | str
    needs: tuple[str, ...] = ()
    install: str = ""
