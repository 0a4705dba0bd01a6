"""The tracker ``trackio``."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from zoo.events import EpochResult, Finished
from zoo.utils.paths import parse_path
from zoo_trackers.values import epoch_metrics, final_metrics, find_pictures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zoo.events import Event
    from zoo.plugins.specs import TrackerRequest


class TrackioTracker:
    """Reports to trackio, which identifies a run by its project and its name."""

    def __init__(self, request: TrackerRequest) -> None:
        import trackio

        self._trackio = trackio
        with _silent():
            self._run: Any = trackio.init(
                project=request.options.project,
                name=request.run.name,
                group=request.group or None,
                space_id=request.options.space or None,
                config={**request.config, "run_folder": str(request.run.resolve())},
                resume="allow" if request.resumed else "never",
                embed=False,
                auto_log_cpu=False,
                auto_log_gpu=False,
            )
        self._epoch = 0

    def track(self, event: Event) -> None:
        """Reports metrics by epoch, and at the end the results and the pictures."""
        match event:
            case EpochResult():
                self._epoch = event.epoch
                self._run.log(epoch_metrics(event), step=event.epoch)
            case Finished():
                folder = parse_path(event.path)
                pictures = {path.stem: self._trackio.Image(str(path)) for path in find_pictures(folder)}
                self._run.log({**final_metrics(event.results), **pictures}, step=self._epoch)

    def close(self, status: str) -> None:
        """Ends the run."""
        with _silent():
            self._run.finish()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keeps trackio from printing, which it has no option for, without an effect on what other threads print."""
    import trackio
    import trackio.run
    import trackio.utils

    modules: list[Any] = [trackio, trackio.run, trackio.utils]
    for module in modules:
        module.print = _discard
    try:
        yield
    finally:
        for module in modules:
            del module.print


def _discard(*_: object, **__: object) -> None:
    """Takes the place of `print`."""
