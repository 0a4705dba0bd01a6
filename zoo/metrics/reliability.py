"""How far probabilities can be relied on: log loss, Brier score, calibration error, and the bins of their diagram."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.metrics.calibration import Reliability
from zoo.metrics.classification import negative_log_likelihoods
from zoo.metrics.multi_label import label_losses

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAX_BINS, _PER_BIN = 15, 20  # predictions in a bin, at least


@dataclass(frozen=True, slots=True)
class Bin:
    """Predictions of similar probability.

    Attributes:
        confidence: Their mean probability.
        accuracy: The share of them that is right.
        count: Their number.
    """

    confidence: float
    accuracy: float
    count: int


def measure_reliability(probabilities: NDArray[Any], targets: NDArray[Any]) -> Reliability:
    """Measures probabilities.

    With one class per photo, the calibration error is that of the most probable class; with several labels per photo,
    that of the answers to all labels of all photos.

    Args:
        probabilities: ``(N, classes)`` float, at least one photo.
        targets: Classes ``(N,)``, or multi-hot ``(N, classes)``.
    """
    confidence, correct = find_events(probabilities, targets)
    return Reliability(
        loss=float(log_losses(probabilities, targets).mean()),
        brier=brier_score(probabilities, targets),
        calibration_error=debiased_calibration_error(confidence, correct),
    )


def log_losses(probabilities: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.float64]:
    """Returns the negative log-likelihood of each photo, float64 ``(N,)``; arguments as for `measure_reliability`."""
    return (label_losses if targets.ndim == 2 else negative_log_likelihoods)(probabilities, targets)


def brier_score(probabilities: NDArray[Any], targets: NDArray[Any]) -> float:
    """Returns the mean squared distance of the probabilities of a photo from the truth, summed over the classes.

    Brier 1950, https://doi.org/10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2. With several labels per photo, it is
    the mean over the labels instead, so that both are comparable between data with few and with many classes.

    Args:
        probabilities: ``(N, classes)``.
        targets: As for `measure_reliability`.
    """
    p = probabilities
    if targets.ndim == 2:
        return float(np.mean((p - targets.astype(np.float32)) ** 2, dtype=np.float64))
    own = p[np.arange(len(p)), targets].astype(np.float64)
    squares = np.einsum("ij,ij->i", p, p, dtype=np.float64)
    return float(np.maximum(squares - 2 * own + 1, 0).mean())  # below 0 by rounding alone


def debiased_calibration_error(confidence: NDArray[Any], correct: NDArray[Any]) -> float:
    """Returns the root mean square calibration error without the part that chance alone contributes.

    Kumar, Liang and Ma 2019, https://arxiv.org/abs/1909.10155, equation 9: the squared difference between confidence
    and accuracy in bins of equally many predictions, minus the variance of the accuracy of each bin. The usual
    estimate (`zoo.metrics.classification.calibration_error`) is far above zero for perfect probabilities of few photos.
    The error is zero if chance explains all differences.

    Args:
        confidence: Probabilities ``(N,)``.
        correct: Whether what they are the probabilities of is true, ``(N,)``.
    """
    total = 0.0
    bins = make_bins(confidence, correct)
    for each in bins:
        noise = each.accuracy * (1 - each.accuracy) / (each.count - 1) if each.count > 1 else 0.0
        total += each.count * ((each.confidence - each.accuracy) ** 2 - noise)
    return float(np.sqrt(max(0.0, total / len(confidence))))


def make_bins(confidence: NDArray[Any], correct: NDArray[Any]) -> list[Bin]:
    """Returns predictions in bins of equally many, from the least to the most confident; at most fifteen bins.

    Args:
        confidence: As for `debiased_calibration_error`.
        correct: As for `debiased_calibration_error`.
    """
    order = np.argsort(confidence, kind="stable")
    count = int(np.clip(len(order) // _PER_BIN, 1, _MAX_BINS))
    ordered = (np.array_split(np.asarray(values, dtype=np.float64)[order], count) for values in (confidence, correct))
    return [Bin(float(p.mean()), float(own.mean()), len(p)) for p, own in zip(*ordered, strict=True)]


def find_events(probabilities: NDArray[Any], targets: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns the probabilities whose calibration is measured ``(M,)``, and whether what they say is true ``(M,)``.

    Args:
        probabilities: ``(N, classes)``.
        targets: As for `measure_reliability`.
    """
    if targets.ndim == 2:
        return probabilities.ravel(), targets.astype(bool).ravel()
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
