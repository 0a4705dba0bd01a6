from types import SimpleNamespace

import pytest

from zoo.events import Estimate, StepResult
from zoo.training import estimate
from zoo.training.estimate import FeatureEstimate, estimate_steps


@pytest.fixture
def now(monkeypatch):
    """The time of the clock, as the only item of a list."""
    seconds = [100.0]
    monkeypatch.setattr(estimate.time, "perf_counter", lambda: seconds[0])
    return seconds


def make_job(**config):
    """Returns what an estimate reads of a job, and the list of its events."""
    events = []
    values = {"freeze": "none", "hflip": "auto", "epochs": 4, "patience": 1, **config}
    counts = {"train": 300, "val": 30, "test": 90}
    record = SimpleNamespace(data=SimpleNamespace(counts=counts))
    job = SimpleNamespace(
        observer=events.append,
        config=SimpleNamespace(**values),
        record=record,
        preprocess=SimpleNamespace(size=(64, 64)),
        train_preprocess=SimpleNamespace(size=(32, 32)),
    )
    return job, events


def make_step(seconds_left, epoch=1):
    return StepResult(
        epoch=epoch, step=1, steps=10, loss=1.0, accuracy=0.5, images_per_second=8.0, seconds_left=seconds_left
    )


@pytest.mark.parametrize(
    ("config", "photos"),
    [({"freeze": "all"}, 420), ({}, 360), ({"hflip": 0.5}, 330)],
    ids=["all splits", "mirrored too", "as they are"],
)
def test_the_first_batches_tell_the_time_of_all_photos(now, config, photos):
    job, events = make_job(**config)
    report = FeatureEstimate(job)
    for now[0], done in ((101.0, 32), (102.5, 64), (104.0, 96)):
        report(done)
    assert events == [Estimate(seconds=2.5 / 64 * photos, work=f"{photos} photos once through the backbone")]


def test_short_work_is_not_announced(now):
    job, events = make_job()
    report = FeatureEstimate(job)
    now[0] = 102.0
    report(300)
    assert events == []


@pytest.mark.parametrize(("patience", "at_most"), [(1, True), (None, False)])
def test_the_first_steps_tell_the_time_of_the_rest(now, patience, at_most):
    job, events = make_job(patience=patience)
    observe = estimate_steps(job)
    steps = {100.0: make_step(90.0), 101.0: make_step(84.0), 102.0: make_step(80.0), 103.0: make_step(79.0)}
    for now[0], step in steps.items():
        observe(step)
    # Evaluations: 5 x 30 + 90 photos forward, at a third of the time of the 4 x 300 that are trained on, which have a
    # quarter of the pixels.
    expected = Estimate(
        seconds=pytest.approx(80.0 * (1 + 240 * 4 / 1200 / 3)), work="epochs 1 to 4, 10 steps each", at_most=at_most
    )
    assert events == [*list(steps.values())[:3], expected, make_step(79.0)]
