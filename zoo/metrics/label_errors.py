"""Finds labels that are probably wrong, from predictions by models that did not train on the photo in question.

Confident learning (Northcutt, Jiang and Chuang 2021, https://doi.org/10.1613/jair.1.12125).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelJudgement:
    """What predictions say about the labels of N photos.

    Attributes:
        suggested: int64 ``(N,)``: the most probable class of each photo.
        order: int64 ``(N,)``: all photos, the most suspicious first.
        count: How many photos at the start of `order` are suspects.
        joint: float64 ``(C, C)``: the estimated number of photos with label i whose true class is j.
    """

    suggested: NDArray[np.int64]
    order: NDArray[np.int64]
    count: int
    joint: NDArray[np.float64]

    @property
    def estimated_errors(self) -> float:
        """The estimated number of wrong labels: all of the joint that is not on its diagonal."""
        return float(self.joint.sum() - np.trace(self.joint))


def judge_labels(probabilities: NDArray[Any], labels: NDArray[np.int64]) -> LabelJudgement:
    """Judges the labels of photos.

    The number of suspects is that of confident learning: a class counts for a photo if its probability reaches the mean
    that the class has among the photos labelled with it, so that a class of which the model is generally unsure needs
    less. If the most probable of the classes that count is not the label, the label is probably wrong.

    Photos are ranked by how improbable their label is, those behind all others whose label is the most probable class.
    That order finds more wrong labels than the margin between the two classes, or than putting the photos first that
    confident learning counts (docs/suspects.md).

    Args:
        probabilities: ``(N, C)``, each row predicted without its photo.
        labels: int64 ``(N,)``, 0 to C - 1.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    photos = np.arange(len(p))
    own, suggested = p[photos, labels], p.argmax(axis=1)
    confident = _find_confident(p, labels)
    counting = confident >= 0
    wrong = counting & (confident != labels)
    disagreeing = suggested != labels
    return LabelJudgement(
        suggested=suggested,
        order=np.lexsort((own, ~disagreeing)),
        count=min(int(wrong.sum()), int(disagreeing.sum())),
        joint=_estimate_joint(labels, confident, classes=p.shape[1]),
    )


def _find_confident(p: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the most probable class that counts for each photo, int64 ``(N,)``; -1 where none does."""
    photos, classes = np.arange(len(p)), p.shape[1]
    totals = np.bincount(labels, minlength=classes)
    sums = np.bincount(labels, weights=p[photos, labels], minlength=classes)
    thresholds = np.where(totals > 0, sums / np.maximum(totals, 1), np.inf)
    counting = np.where(p >= thresholds, p, -np.inf)
    confident = counting.argmax(axis=1)
    return np.where(np.isfinite(counting[photos, confident]), confident, -1)


def _estimate_joint(labels: NDArray[np.int64], confident: NDArray[np.int64], *, classes: int) -> NDArray[np.float64]:
    """Returns the counts of photos by label and confident class, scaled to the number of photos of each label."""
    joint, counting = np.zeros((classes, classes)), confident >= 0
    np.add.at(joint, (labels[counting], confident[counting]), 1)
    sums = joint.sum(axis=1)
    unsure = sums == 0  # for no photo of the class, any class counts: taken to be right
    joint[unsure, unsure] = 1
    return joint * (np.bincount(labels, minlength=classes) / np.where(unsure, 1, sums))[:, None]
