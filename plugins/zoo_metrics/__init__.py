"""The built-in metrics. They use numpy only, so that exported files are evaluated without torch."""

from __future__ import annotations

import zoo
from zoo_metrics.options import AccuracyOptions, CalibrationOptions


@zoo.hookimpl
def zoo_metrics() -> list[zoo.MetricSpec]:
    """Returns the eleven metrics."""
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
            name="precision",
            summary="Precision of each class.",
            compute="zoo_metrics.counts:precision",
        ),
        zoo.MetricSpec(
            name="macro-f1",
            summary="Mean F1 of the classes that occur or were predicted.",
            compute="zoo_metrics.counts:macro_f1",
        ),
        zoo.MetricSpec(
            name="cohens-kappa",
            summary="Agreement of predictions and classes beyond that of chance: 1 all, 0 none.",
            compute="zoo_metrics.counts:cohens_kappa",
        ),
        zoo.MetricSpec(
            name="roc-auc",
            summary="Area under the ROC curve, of each class against the others: whether its photos rank first.",
            compute="zoo_metrics.ranking:roc_auc",
        ),
        zoo.MetricSpec(
            name="average-precision",
            summary="Area under the curve of precision and recall, of each class against the others.",
            compute="zoo_metrics.ranking:average_precision",
        ),
        zoo.MetricSpec(
            name="log-loss",
            summary="Mean negative log-likelihood of the true classes, in nats.",
            compute="zoo_metrics.probabilities:log_loss",
            higher_is_better=False,
        ),
        zoo.MetricSpec(
            name="brier-score",
            summary="Squared error of the probabilities, summed over the classes: 0 to 2.",
            compute="zoo_metrics.probabilities:brier_score",
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
