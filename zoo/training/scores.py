"""Scores of a training on photos that it did not train on, one by one, for the comparison with other trainings.

`CROSS_VALIDATION` names those of the training photos, each by the head of the fold that did not train on it;
`VALIDATION` those of the validation photos, by the best weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CROSS_VALIDATION, VALIDATION = "cross-validation", "val"


class Scores(NamedTuple):
    """Scores of the same photos in the same order, so that those of two trainings can be paired.

    Attributes:
        losses: Negative log-likelihood of every photo, float32 ``(N,)``.
        correct: Whether its class was predicted, bool ``(N,)``.
    """

    losses: NDArray[np.float32]
    correct: NDArray[np.bool_]

    @classmethod
    def of(cls, probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> Scores:
        """Returns the scores of probabilities ``(N, classes)`` with labels ``(N,)``."""
        true = np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
        losses = -np.log(np.maximum(true, np.finfo(np.float32).tiny))
        return cls(losses.astype(np.float32), probabilities.argmax(axis=1) == labels)
