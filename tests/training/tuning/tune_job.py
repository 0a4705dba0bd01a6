"""One process of a study: ``tune_job.py RUNS STORAGE TRIALS``; the job of tests/training/tuning/test_killed.py."""

import sys
import time

from fakes import FakePlugin, make_registry
from training_runs import FAST

import zoo
from zoo.events import StepResult, TrialResult, Work
from zoo.training.tuning import report as tuning_report
from zoo.training.tuning.study import SharedStudy


def report(event):
    """Prints the number of each trial that begins its first epoch, and of each that ends."""
    if isinstance(event, Work) and "epoch 1 of" in event.what:
        print("training", event.what.split()[1].rstrip(":"), flush=True)
        time.sleep(0.3)  # a small network trains in less time than it takes to kill it
    elif isinstance(event, TrialResult):
        print(event.state, event.trial, flush=True)
    assert not isinstance(event, StepResult)


if __name__ == "__main__":
    runs, storage, trials = sys.argv[1:]
    tuning_report._write_picture = lambda *_: None  # matplotlib and scikit-learn take longer than the trials
    SharedStudy.importances = lambda self: {}
    values = {name: value for name, value in FAST.items() if name != "lr"}
    zoo.tune(
        "small",
        search={"lr": "1e-4..0.1:log", "head-lr-multiplier": "1,10"},
        trials=int(trials),
        storage=storage,
        registry=make_registry(FakePlugin()),
        runs=runs,
        observer=report,
        **values,
    )
