import threading
import time
from typing import ClassVar

import pytest
from fakes import FakePlugin, make_registry
from training_runs import FAST, EventRecorder, after_epoch, assert_same_weights, latest_run

import zoo
from zoo.errors import ConfigError, UnknownNameError, ZooError
from zoo.events import EpochResult, Finished, Note, Started
from zoo.runs.manifest import check_folder
from zoo.training import trackers
from zoo.training.compare import compare
from zoo.training.finetune import finetune, resume


class Tracker:
    """Records what it receives, and does to its thread what a test asks for."""

    made: ClassVar[list] = []

    def __init__(self, request):
        self.request, self.events, self.status, self.thread = request, [], None, threading.current_thread()
        Tracker.made.append(self)

    def track(self, event):
        self.events.append(event)

    def close(self, status):
        self.status = status


class Raising(Tracker):
    def track(self, event):
        super().track(event)
        if isinstance(event, EpochResult | Finished):
            raise ZeroDivisionError("1 / 0")


class Hanging(Tracker):
    release = threading.Event()

    def track(self, event):
        super().track(event)
        if isinstance(event, Started):
            Hanging.release.wait(60)


class Meddling(Tracker):
    def track(self, event):
        if isinstance(event, Finished):
            event.results.clear()
            (self.request.folder / "late.txt").write_text("late")


def refuse(request):
    raise ConfigError("The server does not answer.")


class WithTrackers(FakePlugin):
    @zoo.hookimpl
    def zoo_trackers(self):
        starts = {
            "good": Tracker,
            "raising": Raising,
            "hanging": Hanging,
            "meddling": Meddling,
            "refused": refuse,
            "broken": lambda request: 1 / 0,
            "none": lambda request: None,
        }
        specs = [zoo.TrackerSpec(name=name, start=start) for name, start in starts.items()]
        return [*specs, zoo.TrackerSpec(name="missing", start=Tracker, needs=("no_such_module",), install="acme[x]")]


@pytest.fixture
def tracking_registry():
    Tracker.made.clear()
    Hanging.release.clear()
    yield make_registry(WithTrackers())
    Hanging.release.set()


@pytest.fixture
def train(tmp_path, tracking_registry):
    def run(*names, observer=None, **values):
        settings = {**FAST, "epochs": 1, "tracker": names, **values}
        return finetune(
            "small",
            **settings,
            runs=tmp_path,
            registry=tracking_registry,
            pictures=False,
            observer=observer or EventRecorder(),
        )

    return run


def warnings_of(observer):
    return [event.text for event in observer.events if isinstance(event, Note) and event.warning]


def test_a_tracker_gets_every_event_in_its_own_thread(train):
    observer = EventRecorder()
    run = train("good", observer=observer, epochs=2)
    (tracker,) = Tracker.made
    assert tracker.thread is not threading.main_thread()
    assert tracker.events == observer.events
    assert tracker.status == "finished"
    request = tracker.request
    assert (request.run, request.folder, request.resumed, request.group) == (
        run.path,
        run.path / "trackers" / "good",
        False,
        "",
    )
    assert (request.config["epochs"], request.config["tracker"]) == (2, ["good"])
    assert "tracker_options" not in request.config
    assert run.record.other_plugins == {"finetune-zoo:recipes": zoo.__version__, "fake:fake": "1.2"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("raising", "failed while tracking with 'raising': ZeroDivisionError: 1 / 0"),
        ("refused", "The server does not answer"),
        ("broken", "failed while starting 'broken': ZeroDivisionError"),
        ("none", "failed while tracking with 'none'"),
    ],
)
def test_a_tracker_that_fails_is_one_warning_and_costs_no_training(train, name, reason):
    observer, plain = EventRecorder(), train()
    run = train(name, "good", observer=observer)
    assert_same_weights(run, plain)
    assert run.status == "finished"
    (warning,) = [text for text in warnings_of(observer) if "goes on without it" in text]
    assert reason in warning
    assert Tracker.made[-1].status == "finished"


def test_a_tracker_that_hangs_is_left_alone(train, monkeypatch):
    monkeypatch.setattr(trackers, "_CLOSE_SECONDS", {"finished": 0.4, "interrupted": 0.1, "failed": 0.1})
    monkeypatch.setattr(trackers, "_QUIET_SECONDS", 0.1)
    monkeypatch.setattr(trackers, "_MAX_EVENTS", 4)
    observer = EventRecorder()
    run = train("hanging", observer=observer, epochs=5)
    assert run.status == "finished"
    warned = [text for text in warnings_of(observer) if "goes on without it" in text]
    assert len(warned) == 1
    assert "cannot keep up, and misses events" in warned[0] or "does not end" in warned[0]
    assert any("Waiting for the tracker hanging" in text for text in observer.notes)


def test_a_tracker_cannot_change_the_results_or_the_manifest(train):
    run = train("meddling")
    assert run.results["test"]
    assert (run.path / "trackers" / "meddling" / "late.txt").read_text() == "late"
    assert check_folder(run.path) == []


def test_a_run_that_is_interrupted_and_resumed_continues_its_tracking(train, tmp_path, tracking_registry):
    with pytest.raises(KeyboardInterrupt):
        train("good", observer=EventRecorder(after_epoch(1)), epochs=2)
    assert Tracker.made[-1].status == "interrupted"
    resume(latest_run(tmp_path), registry=tracking_registry, pictures=False)
    assert (Tracker.made[-1].status, Tracker.made[-1].request.resumed) == ("finished", True)
    assert Tracker.made[-1].request.folder == Tracker.made[-2].request.folder


def test_a_run_is_resumed_without_a_tracker_that_is_missing(train, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train("good", observer=EventRecorder(after_epoch(1)), epochs=2)
    observer = EventRecorder()
    run = resume(latest_run(tmp_path), registry=make_registry(FakePlugin()), pictures=False, observer=observer)
    assert run.status == "finished"
    assert "The run goes on without trackers: There is no tracker 'good'." in warnings_of(observer)


def test_a_failed_run_is_reported(train):
    with pytest.raises(ZooError):
        train("good", lr=1e30)
    assert Tracker.made[-1].status == "failed"


def test_trackers_are_checked_before_any_slow_work(train, tmp_path):
    with pytest.raises(UnknownNameError, match="There is no tracker 'goo'"):
        train("goo")
    with pytest.raises(ConfigError, match="tracker missing needs the package no_such_module") as caught:
        train("missing")
    assert caught.value.hint == "pip install 'acme[x]'"
    with pytest.raises(ConfigError, match="tracker good has no option 'uri'"):
        train("good", tracker_options={"uri": "x"})
    assert not list(tmp_path.iterdir())


def test_the_runs_of_a_comparison_share_a_group(tmp_path, tracking_registry):
    compare(
        "small",
        data="colours",
        grid={"lr": [1e-3, 1e-2]},
        common={**{name: value for name, value in FAST.items() if name not in ("data", "lr")}, "tracker": "good"},
        runs=tmp_path,
        registry=tracking_registry,
    )
    groups = {tracker.request.group for tracker in Tracker.made}
    assert len(Tracker.made) == 2
    assert len(groups) == 1
    assert groups.pop().startswith("compare small ")


def test_events_never_wait_for_a_tracker(tracking_registry, monkeypatch):
    monkeypatch.setattr(trackers, "_MAX_EVENTS", 10)
    choices = tracking_registry.choose_all(zoo.plugins.kinds.TRACKER, ["hanging"], {})
    seen = []
    tracking = trackers.Tracking(seen.append, choices)
    started = time.perf_counter()
    for number in range(500):
        tracking(Note(text=str(number)))
    assert time.perf_counter() - started < 5
    assert len([event for event in seen if not event.warning]) == 500
    assert len([event for event in seen if event.warning]) == 1
