"""The calibration of a run after its training, and what it changes."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from fakes import FakePlugin, make_images, make_samples
from training_runs import EventRecorder, after_epoch, latest_run, read_weights

import zoo_heads
from zoo.errors import ConfigError, RunError
from zoo.events import ignore
from zoo.inference.evaluate import evaluate, load_samples, predict_samples
from zoo.inference.run_predictor import load
from zoo.metrics.temperature import remove_temperature
from zoo.runs.open import open_run
from zoo.training import calibrate

FROZEN = {"freeze": "all", "optimizer": "lbfgs", "weight_decay": 1.0, "head": "linear", "epochs": 1}


@pytest.fixture
def plugin():
    images = make_images(
        train=make_samples("train", 20), val=make_samples("val", 10), test=make_samples("test", 20, seed=5)
    )
    return FakePlugin(heads=zoo_heads.zoo_heads() + FakePlugin().heads, dataset=images)


def test_a_probe_is_calibrated_on_photos_that_its_head_has_not_seen(train, registry):
    observer = EventRecorder()
    run = train(**FROZEN, calibration="temperature", observer=observer, pictures=True)
    found = run.calibration
    assert (found.method, found.fitted_on, found.photos) == ("temperature", "out-of-fold", 90)
    assert set(found.compared) == {"none", "temperature"}
    assert any(note.startswith("Probabilities are calibrated: temperature") for note in observer.notes)
    assert (run.path / "reliability.png").is_file()
    assert found.sets.photos == 90
    assert open_run(run.path).calibration == dataclasses.replace(found, compared=found.compared)
    measured = run.results["test"]["reliability"]
    assert measured["calibrated"]["loss"] == pytest.approx(run.results["test"]["loss"], rel=1e-5)
    assert measured["uncalibrated"]["loss"] != pytest.approx(measured["calibrated"]["loss"], rel=1e-4)
    assert [each["promised"] for each in measured["sets"]] == [0.9, 0.95]


def test_predictions_have_the_temperature_and_keep_their_order(train, registry):
    run = train(**FROZEN, calibration="temperature")
    plain = dataclasses.replace(run, record=dataclasses.replace(run.record, calibration=None))
    samples = load_samples(run, split="test", data=None, registry=registry, observer=ignore)
    (after, _), (before, _) = (
        predict_samples(load(each, device="cpu", registry=registry), samples, split="test", observer=ignore)
        for each in (run, plain)
    )
    assert np.abs(after - before).max() > 0.01
    assert (after.argsort(axis=1) == before.argsort(axis=1)).all()
    assert remove_temperature(after, run.calibration) == pytest.approx(before, abs=1e-5)
    evaluation = evaluate(run, device="cpu", registry=registry)
    assert evaluation.loss == pytest.approx(run.results["test"]["loss"], rel=1e-3)
    assert evaluation.reliability.to_dict()["uncalibrated"]["loss"] == pytest.approx(
        run.results["test"]["reliability"]["uncalibrated"]["loss"], rel=1e-3
    )


def test_a_fine_tuned_network_is_calibrated_on_validation_photos(train, registry):
    run = train(epochs=1, lr=0.01, calibration="temperature")
    assert (run.calibration.fitted_on, run.calibration.photos) == ("validation", 30)
    prediction = run.predict(make_samples("test", 1)[0].source, coverage=0.9)
    assert prediction.label in prediction.prediction_set
    with pytest.raises(ConfigError, match="needs 99 photos that did not train the network; there were 30"):
        run.predict("missing.jpg", coverage=0.99)


def test_none_leaves_the_probabilities_alone_and_has_sets_all_the_same(train):
    run = train(epochs=1, calibration="none")
    assert (run.calibration.method, run.calibration.note) == ("none", "as requested")
    assert run.calibration.sets.photos == 30
    assert run.results["test"]["reliability"]["uncalibrated"] is None


def test_a_temperature_that_cannot_be_fitted_is_no_secret(train, plugin):
    plugin.dataset = make_images()
    observer = EventRecorder()
    run = train(epochs=1, calibration="temperature", observer=observer)
    assert run.calibration.method == "none"
    assert "Probabilities are not calibrated: 12 photos are too few; 20 are needed." in observer.notes


def test_a_head_with_probabilities_of_its_own_is_not_divided(train, monkeypatch):
    observer = EventRecorder()
    calls = []

    class Other:
        def probabilities(self, logits):
            raise AssertionError

    monkeypatch.setattr(calibrate, "Head", Other)  # so that every head differs from it
    monkeypatch.setattr(calibrate, "calibrate", lambda *_, **__: calls.append(1))
    run = train(epochs=1, calibration="temperature", observer=observer)
    assert not calls
    assert run.calibration.note == "the head computes probabilities in a way of its own"
    assert run.calibration.sets.photos == 30


def test_a_resumed_run_has_the_same_calibration(train, resume, runs):
    values = {"epochs": 2, "lr": 0.01, "calibration": "temperature"}
    whole = train(**values)
    with pytest.raises(KeyboardInterrupt):
        train(**values, observer=EventRecorder(after_epoch(1)))
    stopped = latest_run(runs)
    assert stopped.calibration is None
    resumed = resume(stopped)
    assert resumed.calibration == whole.calibration
    one, two = read_weights(whole), read_weights(resumed)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_broken_calibration_is_refused_by_name(train):
    run = train(epochs=1)
    values = json.loads((run.path / "run.json").read_text("utf-8"))
    values["calibration"]["temperature"] = [1.0, 2.0]
    (run.path / "run.json").write_text(json.dumps(values), "utf-8")
    with pytest.raises(RunError, match="unreadable 'calibration': 'temperature' is not a list of"):
        open_run(run.path)
