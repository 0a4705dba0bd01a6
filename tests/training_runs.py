"""Runs of the small backbone: how tests train, stop and compare them."""

import safetensors.torch
import torch

from zoo.events import EpochResult, Note
from zoo.runs.open import open_run

# Fixed values, so that the tests do not depend on the default recipe.
FAST = {
    "head": "flat",
    "data": "colours",
    "epochs": 3,
    "batch_size": 8,
    "optimizer": "adamw",
    "lr": 1e-3,
    "freeze": "none",
    "probe": False,
    "crop_scale": 0.35,
    "eval_crop": None,
    "device": "cpu",
    "precision": "fp32",
    "workers": 2,
}
STEPS = 5  # per epoch: 36 photos in batches of 8


class EventRecorder:
    """An observer that records events. It calls `action` after the first event that satisfies `condition`."""

    def __init__(self, condition=lambda event: False, action=None):
        self.events = []
        self._condition = condition
        self._action = action or press_ctrl_c

    def __call__(self, event):
        self.events.append(event)
        if self._condition(event):
            self._condition = lambda event: False
            self._action()

    @property
    def notes(self):
        """The texts of notes and warnings."""
        return [event.text for event in self.events if isinstance(event, Note)]


def press_ctrl_c():
    raise KeyboardInterrupt


def after_epoch(number):
    return lambda event: isinstance(event, EpochResult) and event.epoch == number


def latest_run(runs):
    return open_run(max(runs.iterdir(), key=lambda folder: folder.stat().st_ctime_ns))


def read_weights(run):
    return safetensors.torch.load_file(run.weights_path)


def without_times(row):
    return {name: value for name, value in row.items() if "second" not in name}


def assert_same_weights(run, other):
    ours, theirs = read_weights(run), read_weights(other)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def assert_same_results(run, other):
    """Compares the weights and the metrics of two runs, without times."""
    assert_same_weights(run, other)
    assert [without_times(row) for row in run.metrics()] == [without_times(row) for row in other.metrics()]
    assert run.results["test"] == other.results["test"]
    assert run.results["best_epoch"] == other.results["best_epoch"]
