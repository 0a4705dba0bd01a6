"""The built-in metrics. They use numpy only, so that exported files are evaluated without torch."""

from __future__ import annotations

import zoo
from zoo_metrics.options import AccuracyOptions, CalibrationOptions


@zoo.hookimpl
def zoo_metrics() -> list[zoo.MetricSpec]:
    """Returns the six metrics."""
    return [
        zoo.MetricSpec(
            name="accuracy",
            summary="Share of photos whose class is the predicted one, or among the k most probable ones.",
            compute="zoo_metrics.counts:accuracy",
            options=AccuracyOptions,
        ),
        zoo.MetricSpec(
            name="balanced-accuracy",
            summary="Mean recall of the classes, so that rare ones count as much as common ones.",
            compute="zoo_metrics.counts:balanced_accuracy",
        ),
        zoo.MetricSpec(
            name="recall",
            summary="Recall of each class.",
            compute="zoo_metrics.counts:recall",
        ),
        zoo.MetricSpec(
            name="macro-f1",
            summary="Mean F1 of the classes that occur or were predicted.",
            compute="zoo_metrics.counts:macro_f1",
        ),
        zoo.MetricSpec(
            name="log-loss",
            summary="Mean negative log-likelihood of the true classes, in nats.",
            compute="zoo_metrics.probabilities:log_loss",
            higher_is_better=False,
        ),
        zoo.MetricSpec(
            name="calibration-error",
            summary="Expected calibration error: how far confidence and accuracy are apart.",
            compute="zoo_metrics.probabilities:expected_calibration_error",
            higher_is_better=False,
            options=CalibrationOptions,
        ),
    ]
