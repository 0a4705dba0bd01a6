import dataclasses

import numpy as np
import pytest
from drawn_logits import draw

from zoo.metrics.calibration import Calibration
from zoo.metrics.reliability import measure_reliability
from zoo.metrics.temperature import calibrate, fit_temperature, remove_temperature, to_probabilities


def draw_labels(count, temperatures, *, seed=0):
    """Returns logits of labels, each with a temperature of its own, and multi-hot targets."""
    random = np.random.default_rng(seed)
    logits = 2 * random.normal(size=(count, len(temperatures)))
    targets = (random.random(logits.shape) < to_probabilities(logits, (), "sigmoid")).astype(np.uint8)
    return (logits * np.array(temperatures)).astype(np.float32), targets


@pytest.mark.parametrize("temperature", [0.4, 2.5])
def test_the_temperature_of_the_data_is_found(temperature):
    found = calibrate(*draw(2000, temperature=temperature), activation="softmax", wanted="auto", seed=0)
    assert found.method == "temperature"
    assert found.temperature == pytest.approx((temperature,), rel=0.1)
    assert found.photos == 2000
    before, after = found.compared["none"], found.compared["temperature"]
    assert after["loss"] < before["loss"]
    assert after["calibration_error"] < before["calibration_error"] / 2


def test_what_is_calibrated_is_left_alone():
    methods = [
        calibrate(*draw(300, temperature=1.0, seed=seed), activation="softmax", wanted="auto", seed=0).method
        for seed in range(10)
    ]
    assert methods.count("none") >= 6


def test_on_request_a_temperature_is_fitted_anyway_or_never():
    logits, labels = draw(300, temperature=1.0, seed=1)
    forced = calibrate(logits, labels, activation="softmax", wanted="temperature", seed=0)
    assert forced.method == "temperature"
    never = calibrate(logits, labels, activation="softmax", wanted="none", seed=0)
    assert (never.temperature, never.compared, never.note) == ((), {}, "as requested")


def test_few_photos_are_not_enough():
    found = calibrate(*draw(19, temperature=3), activation="softmax", wanted="temperature", seed=0)
    assert (found.method, found.note) == ("none", "19 photos are too few; 20 are needed")


def test_photos_that_are_all_right_do_not_make_every_probability_one():
    logits = np.full((40, 3), -1.0)
    logits[:, 0] = 1
    (temperature,) = fit_temperature(logits, np.zeros(40, dtype=np.int64), "temperature", "softmax")
    assert 0.2 < temperature < 1


def test_each_label_has_a_temperature_of_its_own_where_they_differ():
    logits, targets = draw_labels(2000, (0.4, 3.0))
    found = calibrate(logits, targets, activation="sigmoid", wanted="auto", seed=0)
    assert found.method == "temperature-per-label"
    assert found.temperature == pytest.approx((0.4, 3.0), rel=0.15)
    assert found.compared["temperature-per-label"]["loss"] < found.compared["temperature"]["loss"]


def test_one_class_with_sigmoids_keeps_the_order_of_the_classes():
    logits, labels = draw(500, temperature=3)
    found = calibrate(logits, labels, activation="sigmoid", wanted="auto", seed=0)
    assert len(found.temperature) == 1
    probabilities = to_probabilities(logits, found.temperature, "sigmoid")
    assert (probabilities.argmax(axis=1) == logits.argmax(axis=1)).all()


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_probabilities_before_calibration_follow_from_those_after(activation):
    logits = np.random.default_rng(0).normal(size=(50, 4), scale=4).astype(np.float32)
    calibration = Calibration(method="temperature", activation=activation, temperature=(2.5,))
    after = to_probabilities(logits, calibration.temperature, activation).astype(np.float32)
    before = to_probabilities(logits, (), activation)
    assert remove_temperature(after, calibration) == pytest.approx(before, abs=1e-5)
    assert remove_temperature(after, dataclasses.replace(calibration, temperature=())) == pytest.approx(after, abs=1e-6)


def test_the_same_seed_gives_the_same_calibration():
    logits, labels = draw(200, temperature=2)
    first, second = (calibrate(logits, labels, activation="softmax", wanted="auto", seed=3) for _ in range(2))
    assert first == second


def test_extreme_logits_have_a_temperature():
    logits, labels = np.array([[1e4, -1e4], [-1e4, 1e4]] * 15, dtype=np.float32), np.array([0, 0] * 15)
    found = calibrate(logits, labels, activation="softmax", wanted="temperature", seed=0)
    assert found.temperature == pytest.approx((20.0,), rel=0.01)  # the highest
    assert np.isfinite(measure_reliability(to_probabilities(logits, found.temperature, "softmax"), labels).loss)
