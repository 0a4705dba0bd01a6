"""The loop of a search: tries what fits into the time, chooses, and completes the chosen run."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from zoo.config import make_config
from zoo.errors import TrainingError
from zoo.events import Note
from zoo.models.runtime import release_memory
from zoo.plugins.kinds import BACKBONE
from zoo.runs.lock import locked_folder
from zoo.training.best.attempts import FAILED, JOINED, NO_MEMORY, OUT_OF_TIME, Outcome
from zoo.training.best.choice import choose
from zoo.training.best.feature_store import FeatureStore
from zoo.training.best.memory import find_missing_memory
from zoo.training.best.plan import Plan, find_deadline, next_attempt
from zoo.training.best.runner import report_outcome, run_attempt
from zoo.training.best.state import PICTURE, TABLE
from zoo.training.best.table import make_rows, write_table
from zoo.training.prepare import check_photos
from zoo.utils.machine import available_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zoo.events import Observer
    from zoo.inference.run import Run
    from zoo.plugins.registry import Registry
    from zoo.plugins.specs import ImageSet
    from zoo.training.best.state import SearchState
    from zoo.training.best.table import Row

_HEARTBEAT = 10.0  # seconds between two saves of the time used
_MIN_SECONDS = 1.0  # with less time left, nothing is started


def search(
    state: SearchState,
    images: ImageSet,
    *,
    keep: bool,
    started: float,
    observer: Observer,
    registry: Registry,
) -> tuple[Run, tuple[Row, ...], float]:
    """Returns the chosen run, the rows of the table, and the seconds used.

    Args:
        state: The search as it was left.
        images: The photos; of their test split, only the number matters until a run is chosen.
        keep: Whether to keep the other runs.
        started: When this process began, by `time.monotonic`.
        observer: Called with events.
        registry: The plugins.

    Raises:
        TrainingError: There is no run to choose.
        ZooError: The chosen run cannot be completed.
    """
    # Imported only now: matplotlib takes a second.
    from zoo.training.best.complete import complete

    clock = SearchClock(state, started=started)
    stopped = f"'zoo best --resume {state.folder}'"
    with locked_folder(state.folder):
        try:
            if not state.run:
                _try_all(state, images, clock, observer=observer, registry=registry)
            chosen = choose(state.outcomes, state.sources[0])
            if chosen is None:
                raise _describe_failure(state)
            rows = make_rows(state.outcomes, chosen)
            write_table(state.folder / TABLE, rows)
            _write_picture(state, rows)
            observer(Note(text=f"Chosen: {chosen.attempt.name}."))
            run = complete(state, chosen, has_test=bool(images.test), keep=keep, observer=observer, registry=registry)
        except KeyboardInterrupt:
            clock.save()
            observer(Note(text=f"Stopped. {stopped} goes on.", warning=True))
            raise
    return run, rows, clock.used()


class SearchClock:
    """Counts the seconds that a search has used, in this process and in those before, and saves them now and then.

    Args:
        state: The search.
        started: When this process began, by `clock`.
        clock: Returns seconds.
    """

    def __init__(self, state: SearchState, *, started: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._state, self._before = state, state.used
        self._started, self._clock, self._saved = started, clock, clock()

    def used(self) -> float:
        """Returns the seconds used."""
        return self._before + self._clock() - self._started

    def tick(self) -> None:
        """Saves the state if the last time was long ago."""
        if self._clock() - self._saved >= _HEARTBEAT:
            self.save()

    def save(self) -> None:
        """Saves the state with the time used."""
        self._state.used = self.used()
        self._state.save()
        self._saved = self._clock()


def _try_all(
    state: SearchState, images: ImageSet, clock: SearchClock, *, observer: Observer, registry: Registry
) -> None:
    """Tries what is planned until nothing is left that fits into the time."""
    config = make_config(data=state.data, registry=registry, **state.values)
    report = check_photos(images, config, observer)  # once, instead of in every attempt
    plan = Plan(
        sources=state.sources,
        photos=len(images.train) + len(images.val),
        test_photos=len(images.test),
        smallest=min(Counter(label for each in (*images.train, *images.val) for label in each.labels).values()),
        seconds=60 * state.minutes,
        epochs=config.epochs,
        joins=any(family.name == JOINED for family, _ in registry.families(BACKBONE)),
    )
    features = FeatureStore()
    while True:
        left = find_deadline(plan, state.outcomes) - clock.used()
        attempt = state.running or next_attempt(plan, state.outcomes, left=left)
        if left < _MIN_SECONDS or attempt is None:
            return
        state.running = attempt
        clock.save()
        if missing := find_missing_memory(attempt, state.outcomes, available_memory()):
            outcome = Outcome(attempt=attempt, status=NO_MEMORY, seconds=0.0, message=missing)
        else:
            outcome = run_attempt(
                state,
                attempt,
                seconds=find_deadline(plan, state.outcomes, attempt) - clock.used(),
                report=report,
                pictures=not images.test,
                observer=observer,
                registry=registry,
                features=features,
                on_tick=clock.tick,
            )
        release_memory()
        state.used = clock.used()
        state.add(outcome)
        report_outcome(outcome, number=len(state.outcomes), left=plan.seconds - clock.used(), observer=observer)
        if outcome.status == OUT_OF_TIME:
            return


def _describe_failure(state: SearchState) -> TrainingError:
    """Returns why a search has nothing to choose from."""
    failed = [each for each in state.outcomes if each.status == FAILED]
    if failed:
        first = failed[0]
        return TrainingError(
            f"Nothing that was tried ended with a run. The first failure, {first.attempt.name}: {first.message}",
            hint=f"{state.folder} lists all of them.",
        )
    return TrainingError(
        f"No probe was finished within {state.minutes:g} minutes.",
        hint=f"'zoo best --resume {state.folder} --minutes {2 * state.minutes:g}' goes on; --limit takes fewer photos.",
    )


def _write_picture(state: SearchState, rows: Sequence[Row]) -> None:
    from zoo.report.search import SearchPoint, write_search
    from zoo.training.scores import CROSS_VALIDATION

    titles = {CROSS_VALIDATION: "Probes, cross-validation"}
    points = [
        SearchPoint(
            number=row.number,
            name=row.name,
            colour=outcome.attempt.source.backbone,
            panel=titles.get(row.basis, "Fine-tuned, validation photos"),
            milliseconds=row.milliseconds,
            accuracy=row.accuracy,
            low=row.low or 0.0,
            high=row.high or 0.0,
            chosen=row.chosen,
            partial=outcome.attempt.photos is not None,
        )
        for row, outcome in zip(rows, state.outcomes, strict=True)
        if row.accuracy is not None
    ]
    subtitle = "Accuracy with 95 % intervals. Ring: chosen. Pale: trained on some of the photos"
    write_search(state.folder / PICTURE, points, title=state.folder.name, subtitle=subtitle)
