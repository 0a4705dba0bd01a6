import os
import random
import sys
import threading
import time

import numpy as np
import pytest
import torch
from plugin_helpers import plugin_of

import zoo
from zoo.errors import ConfigError
from zoo.events import EpochResult, Finished, Started
from zoo.testing import check_plugin, check_tracker, tracker


class Good:
    """Keeps what it is told."""

    def __init__(self, request):
        self.request = request

    def track(self, event):
        pass

    def close(self, status):
        assert status in ("finished", "interrupted", "failed")


def spec_of(start, **fields):
    return zoo.TrackerSpec(name="mine", summary="Mine.", start=start, **fields)


def tracker_with(**methods):
    return spec_of(type("Bad", (Good,), methods))


def test_a_valid_tracker_passes_and_gets_every_event():
    seen, closed = [], []

    class Recorder(Good):
        def __init__(self, request):
            super().__init__(request)
            seen.append((request.resumed, bool(request.group), request.folder.is_dir(), request.config["backbone"]))

        def track(self, event):
            seen.append(type(event).__name__)

        def close(self, status):
            closed.append(status)

    check_tracker(spec_of(Recorder))
    check_plugin(plugin_of(zoo_trackers=lambda: [spec_of(Recorder)]))
    assert closed == ["finished", "interrupted", "failed"] * 2
    assert [each for each in seen if isinstance(each, tuple)] == [
        (False, True, True, "tinynet"),
        (False, True, True, "tinynet"),
        (True, False, True, "tinynet"),
    ] * 2
    assert {"Work", "Note", "Started", "Estimate", "StepResult", "EpochResult", "Finished"} < set(seen)


def raise_in_track(self, event):
    if isinstance(event, EpochResult):
        raise ZeroDivisionError("1 / 0")


def change_event(self, event):
    if isinstance(event, Finished):
        event.results["test"]["accuracy"] = 1.0


def change_frozen(self, event):
    if isinstance(event, Started):
        object.__setattr__(event, "run", "other")


def change_config(self, status):
    self.request.config["epochs"] = 1


def keep_thread(self, status):
    threading.Thread(target=time.sleep, args=(1,), name="sender", daemon=False).start()


def change_folder(self, status):
    os.chdir("/")


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"track": raise_in_track}, "track\\(\\) with the event EpochResult raised ZeroDivisionError"),
        ({"track": lambda self, event: sys.exit(3)}, "track\\(\\) with the event Work raised SystemExit"),
        ({"track": change_event}, "must not change the event Finished"),
        ({"track": change_frozen}, "must not change the event Started"),
        ({"track": lambda self, event: print("epoch")}, "must print nothing; it printed 'epoch"),
        ({"track": lambda self, event: random.random()}, "must not draw from the global random generators"),
        ({"track": lambda self, event: np.random.rand()}, "must not draw from the global random generators"),
        ({"track": lambda self, event: torch.rand(1)}, "must not draw from the global random generators"),
        ({"track": lambda self, event: time.sleep(2)}, "with the event Work raised TimeoutError"),
        ({"track": None}, "start\\(\\) must return an object with track\\(\\)"),
        ({"close": None}, "start\\(\\) must return an object with close\\(\\)"),
        ({"close": change_config}, "must not change the configuration"),
        ({"close": keep_thread}, "must end what it started, .*'sender'"),
        ({"close": change_folder}, "must not change settings of the process"),
        ({"close": lambda self: None}, "close\\('finished'\\) raised TypeError"),
        ({"__init__": lambda self, request: 1 / 0}, "start\\(\\) raised ZeroDivisionError.*a ZooError says"),
    ],
    ids=range(16),
)
def test_mistakes_are_named(methods, message, monkeypatch):
    monkeypatch.setattr(tracker, "SECONDS", 1.0)
    with pytest.raises(AssertionError, match=f"tracker mine: .*{message}"):
        check_tracker(tracker_with(**methods))


def test_a_refusal_is_no_exception_of_python():
    def refuse(request):
        raise ConfigError("There is no server.")

    with pytest.raises(AssertionError, match="start\\(\\) raised ConfigError: There is no server"):
        check_tracker(spec_of(refuse))


def test_needs_are_names_of_modules():
    with pytest.raises(AssertionError, match="needs must be a tuple"):
        check_tracker(spec_of(Good, needs="mlflow"))
    check_tracker(spec_of(lambda request: 1 / 0, needs=("no_such_module",)))


def test_a_plugin_that_imports_its_library_when_it_is_loaded_is_named(tmp_path, monkeypatch):
    (tmp_path / "mlflow.py").touch()
    (tmp_path / "zoo_eager.py").write_text(
        "import mlflow\nimport zoo\n\n@zoo.hookimpl\ndef zoo_trackers():\n"
        "    return [zoo.TrackerSpec(name='eager', start='mlflow:start')]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AssertionError, match="it imports mlflow when it is loaded"):
        check_plugin("zoo_eager")
