"""The Brier score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import zoo


def brier(request: zoo.MetricRequest) -> dict[str, float]:
    """Returns the mean squared error of the probabilities of an image, summed over the classes."""
    right = np.eye(len(request.classes))[request.targets]
    return {"brier": float(((request.probabilities - right) ** 2).sum(axis=1).mean())}
