"""Hands the events of a run to trackers, each in a thread of its own, so that none delays or ends the training."""

from __future__ import annotations

import copy
import queue
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from zoo.errors import ZooError
from zoo.events import Estimate, Note, StepResult, Work
from zoo.plugins.calls import plugin_failure
from zoo.plugins.specs import TrackerRequest
from zoo.plugins.supervision import find_running, report_running
from zoo.runs.manifest import TRACKERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from zoo.config import FinetuneConfig
    from zoo.events import Event, Observer
    from zoo.plugins.registry import Choice
    from zoo.plugins.specs import Tracker, TrackerSpec

FINISHED, INTERRUPTED, FAILED = "finished", "interrupted", "failed"
_MAX_EVENTS = 1000  # that wait for a tracker
_PROGRESS = (Work, StepResult, Estimate)  # of which some may be left out
_CLOSE_SECONDS = {FINISHED: 120.0, INTERRUPTED: 5.0, FAILED: 5.0}  # for which a run waits for its trackers
_QUIET_SECONDS = 2.0  # of them, without saying so


@contextmanager
def tracked(observer: Observer, choices: Sequence[Choice[TrackerSpec]]) -> Iterator[Tracking]:
    """Yields an observer that passes each event on to another one and to trackers.

    At the end of the block it waits for the trackers, but not for long.
    """
    tracking, status = Tracking(observer, choices), FAILED
    try:
        yield tracking
        status = FINISHED
    except KeyboardInterrupt:
        status = INTERRUPTED
        raise
    finally:
        tracking.close(status)


class Tracking:
    """An observer that passes each event on to another one and to trackers.

    Args:
        observer: The other observer. It also gets one warning about each tracker that fails.
        choices: The trackers.
    """

    def __init__(self, observer: Observer, choices: Sequence[Choice[TrackerSpec]]) -> None:
        self._observer = observer
        self._workers = [_Worker(choice) for choice in choices]
        self._running = find_running() if choices else []

    def __call__(self, event: Event) -> None:
        """Passes an event on."""
        for worker in self._workers:
            worker.put(event)
        self._warn()
        self._observer(event)

    def start(self, run: Path, config: FinetuneConfig, *, resumed: bool, group: str) -> None:
        """Starts the trackers; they receive all events since the beginning.

        Args:
            run: The run folder.
            config: The configuration.
            resumed: Whether the run was started before.
            group: As in `TrackerRequest`.
        """
        plain = {name: value for name, value in config.to_dict().items() if name != "tracker_options"}
        for worker in self._workers:
            choice = worker.choice
            request = TrackerRequest(
                run=run,
                folder=run / TRACKERS / choice.spec.name,
                config=copy.deepcopy(plain),
                options=choice.options,
                resumed=resumed,
                group=group,
            )
            worker.start(request)

    def close(self, status: str) -> None:
        """Ends the tracking, and waits a limited time for what the trackers still have to do.

        Args:
            status: As in `Tracker.close`.
        """
        seconds = _CLOSE_SECONDS[status]
        started = time.monotonic()
        for worker in self._workers:
            worker.end(status)
        for worker in self._workers:
            if not worker.join(_QUIET_SECONDS):
                text = f"Waiting for the tracker {worker.choice.spec.name}, at most {seconds:.0f} s."
                self._observer(Note(text=text))
            worker.give_up_after(started + seconds - time.monotonic())
        self._warn()
        for worker in self._workers:
            left = [task for task in find_running() if task not in self._running]
            report_running(worker.choice.offer.plugin.key, "tracking a run", left)

    def _warn(self) -> None:
        for worker in self._workers:
            if text := worker.take_warning():
                self._observer(Note(text=text, warning=True))


class _Worker:
    """A tracker with its thread and the events that wait for it. Its methods run in the thread of the training."""

    def __init__(self, choice: Choice[TrackerSpec]) -> None:
        self.choice = choice
        self._events: queue.Queue[Event | None] = queue.Queue(_MAX_EVENTS)
        self._thread: threading.Thread | None = None
        self._status = ""  # of the end; empty before
        self._problem = ""
        self._warned = self._stopped = False

    def put(self, event: Event) -> None:
        """Adds an event; it never waits."""
        if self._stopped or (isinstance(event, _PROGRESS) and self._events.qsize() > _MAX_EVENTS // 2):
            return
        try:
            self._events.put_nowait(copy.deepcopy(event))  # it may contain a dict, which a tracker could change
        except queue.Full:
            self._fail("it cannot keep up, and misses events")

    def start(self, request: TrackerRequest) -> None:
        """Starts the thread."""
        name = f"tracker {self.choice.spec.name}"
        self._thread = threading.Thread(target=self._run, args=(request,), name=name, daemon=True)
        self._thread.start()

    def end(self, status: str) -> None:
        """Lets the thread end after the events that wait."""
        self._status = status
        with suppress(queue.Full):  # the thread looks at the status once it has handled all events
            self._events.put_nowait(None)

    def join(self, seconds: float) -> bool:
        """Waits for the thread; returns whether it has ended."""
        if self._thread is not None:
            self._thread.join(max(0.0, seconds))
        return self._thread is None or not self._thread.is_alive()

    def give_up_after(self, seconds: float) -> None:
        """Waits for the thread once more, and leaves it alone if it does not end."""
        if not self.join(seconds):
            self._fail("it does not end, and what it tracked may be incomplete")

    def take_warning(self) -> str:
        """Returns the first problem of the tracker once, as a sentence; otherwise an empty string."""
        if not self._problem or self._warned:
            return ""
        self._warned = True
        return self._problem

    def _fail(self, reason: BaseException | str) -> None:
        error = (
            reason if isinstance(reason, ZooError) else plugin_failure(self.choice.offer.plugin, self._action, reason)
        )
        self._problem = self._problem or f"{error.message} The training goes on without it."

    @property
    def _action(self) -> str:
        return f"tracking with '{self.choice.spec.name}'"

    def _run(self, request: TrackerRequest) -> None:
        """Runs in the thread of the tracker."""
        offer = self.choice.offer
        try:
            request.folder.mkdir(parents=True, exist_ok=True)
            tracker: Tracker = offer.call("starting", offer.spec.start, request)
        except (ZooError, OSError) as error:
            self._fail(error)
            self._stopped = True
            return
        while not (self._status and self._events.empty()):
            event = self._events.get()
            if event is not None:
                self._call(tracker, "track", event)
        self._call(tracker, "close", self._status)

    def _call(self, tracker: Any, method: str, argument: object) -> None:
        try:
            self.choice.offer.call("tracking with", lambda: getattr(tracker, method)(argument))
        except ZooError as error:
            self._fail(error)
