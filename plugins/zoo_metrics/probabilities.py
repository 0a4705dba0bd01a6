"""Metrics of the probabilities themselves."""

from __future__ import annotations

import math

import numpy as np

import zoo
from zoo.metrics.classification import calibration_error, negative_log_likelihoods
from zoo.metrics.intervals import QUANTILE


def log_loss(request: zoo.MetricRequest) -> dict[str, zoo.MetricValue]:
    """Returns the mean negative log-likelihood; probabilities below 1e-12 count as 1e-12.

    Its interval is that of a mean of many photos; a single photo has none.
    """
    losses = negative_log_likelihoods(request.probabilities, request.targets)
    mean, count = float(losses.mean()), len(losses)
    if count < 2:
        return {"log_loss": zoo.MetricValue(value=mean)}
    half = QUANTILE * float(losses.std(ddof=1)) / math.sqrt(count)
    return {"log_loss": zoo.MetricValue(value=mean, interval=(max(0.0, mean - half), mean + half))}


def brier_score(request: zoo.MetricRequest) -> dict[str, zoo.MetricValue]:
    """Returns the mean squared distance of the probabilities from 1 for the class of a photo and 0 for the others.

    It is summed over the classes, as by Brier 1950 (https://doi.org/10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2):
    from 0 to 2 where probabilities sum to one, twice the other definition for two classes. Its interval is that of a
    mean of many photos; a single photo has none.
    """
    p, count = request.probabilities, len(request.targets)
    own = p[np.arange(count), request.targets].astype(np.float64)
    errors = np.einsum("ij,ij->i", p, p, dtype=np.float64) - 2 * own + 1
    errors = np.maximum(errors, 0)  # rounding
    mean = float(errors.mean())
    if count < 2:
        return {"brier_score": zoo.MetricValue(value=mean)}
    half = QUANTILE * float(errors.std(ddof=1)) / math.sqrt(count)
    return {"brier_score": zoo.MetricValue(value=mean, interval=(max(0.0, mean - half), mean + half))}


def expected_calibration_error(request: zoo.MetricRequest) -> dict[str, zoo.MetricValue]:
    """Returns the expected calibration error (Guo et al. 2017, https://arxiv.org/abs/1706.04599).

    It has no interval: chance alone makes it larger than zero, the more the fewer photos there are, so that resampling
    the photos would shift it (Nixon et al. 2019, https://arxiv.org/abs/1904.01685).
    """
    p = request.probabilities
    correct = p.argmax(axis=1) == request.targets
    return {
        "calibration_error": zoo.MetricValue(value=calibration_error(p.max(axis=1), correct, bins=request.options.bins))
    }
