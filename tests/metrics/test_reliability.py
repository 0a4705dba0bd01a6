import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from drawn_logits import draw, draw_probabilities

from zoo.metrics.calibration import Calibration
from zoo.metrics.classification import calibration_error
from zoo.metrics.conformal import choose_sets
from zoo.metrics.reliability import brier_score, debiased_calibration_error, make_bins, measure_reliability
from zoo.metrics.reliability_report import report_reliability
from zoo.metrics.temperature import to_probabilities
from zoo_metrics.probabilities import brier_score as metric_brier_score


def test_the_error_of_calibrated_probabilities_of_few_photos_is_near_zero():
    biased, debiased = [], []
    for seed in range(60):
        p, labels = draw_probabilities(200, seed=seed)
        p = to_probabilities(np.log(p) / 1.5, (), "softmax")  # the probabilities that the labels were drawn from
        confidence, correct = p.max(axis=1), p.argmax(axis=1) == labels
        biased.append(calibration_error(confidence, correct))
        debiased.append(debiased_calibration_error(confidence, correct))
    assert np.mean(biased) > 0.06
    assert np.mean(debiased) < 0.03


def test_a_real_error_is_measured_whatever_the_number_of_photos():
    random = np.random.default_rng(0)
    for count in (200, 20_000):
        errors = [debiased_calibration_error(np.full(count, 0.9), random.random(count) < 0.7) for _ in range(20)]
        assert np.mean(errors) == pytest.approx(0.2, abs=0.02)


def test_bins_have_equally_many_predictions():
    confidence = np.random.default_rng(0).random(107)
    bins = make_bins(confidence, confidence > 0.5)
    assert [each.count for each in bins] == [22, 22, 21, 21, 21]
    assert [each.confidence for each in bins] == sorted(each.confidence for each in bins)
    assert (bins[0].accuracy, bins[-1].accuracy) == (0, 1)
    (single,) = make_bins(np.array([0.6]), np.array([True]))
    assert (single.confidence, single.accuracy, single.count) == (0.6, 1, 1)


def test_the_brier_score_is_that_of_the_metric_and_of_labels_their_mean():
    p, labels = draw_probabilities(50, seed=0)
    wanted = metric_brier_score(SimpleNamespace(probabilities=p, targets=labels))["brier_score"].value
    assert brier_score(p, labels) == pytest.approx(wanted)
    assert brier_score(np.array([[0.9, 0.2]]), np.array([[1, 0]])) == pytest.approx((0.01 + 0.04) / 2)


def test_labels_are_measured_by_all_their_answers():
    measured = measure_reliability(np.array([[0.9, 0.2], [0.6, 0.1]]), np.array([[1, 0], [1, 0]]))
    assert measured.loss == pytest.approx(-np.log([0.9 * 0.8, 0.6 * 0.9]).mean())


def test_a_report_compares_before_and_after_and_checks_sets():
    logits, labels = draw(800, temperature=2.5)
    calibration = Calibration(method="temperature", temperature=(2.5,))
    p = to_probabilities(logits, calibration.temperature, "softmax").astype(np.float32)
    calibration = dataclasses.replace(calibration, sets=choose_sets(p[:400], labels[:400], seed=0))
    report = report_reliability(p[400:], labels[400:], calibration)
    raw = measure_reliability(to_probabilities(logits[400:], (), "softmax"), labels[400:])
    assert report.uncalibrated.loss == pytest.approx(raw.loss, rel=1e-4)
    assert report.calibrated.loss < report.uncalibrated.loss
    assert report.calibrated.calibration_error < report.uncalibrated.calibration_error
    assert [each.promised for each in report.sets] == [0.9, 0.95]
    for each in report.sets:
        low, high = each.interval
        assert low < each.measured < high
        assert each.measured == pytest.approx(each.promised, abs=0.05)
        assert 1 <= each.size <= 5
    assert report.to_dict()["sets"][0]["promised"] == 0.9


def test_a_report_without_calibration_or_with_too_few_photos_has_less():
    p, labels = draw_probabilities(30, seed=0)
    assert report_reliability(p, labels, None).uncalibrated is None
    calibration = Calibration(method="none", sets=choose_sets(p[:10], labels[:10], seed=0))
    report = report_reliability(p, labels, calibration)
    assert (report.uncalibrated, [each.promised for each in report.sets]) == (None, [0.9])
