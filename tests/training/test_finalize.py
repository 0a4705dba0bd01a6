import math

import pytest
from fakes import make_images
from training_runs import EventRecorder

from zoo.training import finalize


@pytest.fixture
def pictures(monkeypatch):
    """The arguments with which pictures were written."""
    calls = []
    monkeypatch.setattr(finalize, "write_pictures", lambda folder, **kwargs: calls.append({"folder": folder, **kwargs}))
    return calls


def test_the_results_are_those_of_the_best_epoch(train):
    run = train(epochs=4, lr=0.05)
    best = [row for row in run.metrics() if row["best"]][-1]
    assert run.results["best_epoch"] == best["epoch"]
    assert run.results["val"]["accuracy"] == best["val_accuracy"]
    assert run.results["val"]["loss"] == pytest.approx(best["val_loss"], rel=1e-3)


def test_results_are_finite_even_with_mixup(train):
    run = train(mixup=0.4, epochs=1)
    assert run.metrics()[0]["train_accuracy"] is None
    assert all(math.isfinite(value) for value in run.results["test"].values() if isinstance(value, float))


def test_pictures_show_the_test_split(train, pictures):
    run = train(epochs=2, pictures=True)
    (call,) = pictures
    assert call["folder"] == run.path
    assert call["rows"] == run.metrics()
    assert call["split"] == "test"
    assert call["evaluation"].count == 18
    assert call["evaluation"].accuracy == run.results["test"]["accuracy"]
    assert len(call["mistakes"]) == round(18 * (1 - run.results["test"]["accuracy"]))


def test_without_a_test_split_the_validation_split_is_evaluated_and_shown(train, plugin, pictures):
    plugin.dataset = make_images(test=())
    observer = EventRecorder()
    run = train(epochs=1, observer=observer, pictures=True)
    assert "test" not in run.results
    assert run.results["val"]["count"] == 12
    assert any("no test split" in note for note in observer.notes)
    assert [(call["split"], call["evaluation"].count) for call in pictures] == [("validation", 12)]


def test_pictures_are_optional(train, pictures):
    train(epochs=1, pictures=False)
    assert pictures == []
