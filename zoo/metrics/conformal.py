"""Prediction sets: computes conformal scores, chooses between two of them on held-out photos, and makes the sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np

from zoo.metrics.calibration import PredictionSets, SetScore
from zoo.metrics.intervals import wilson_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COMPARED = (0.9, 0.95)  # the coverages at which scores are compared
_FOLDS = 5
_BLOCK = 2**22  # probabilities at a time


def choose_sets(probabilities: NDArray[Any], labels: NDArray[Any], *, seed: int) -> PredictionSets:
    """Returns what prediction sets are made from: of the two scores, the one with smaller sets for held-out photos.

    A score whose sets contain the right class too rarely, beyond chance, is not chosen. If both are equal, it is
    ``"lac"``.

    Args:
        probabilities: Calibrated probabilities of photos that the network had not seen, ``(N, classes)`` float.
        labels: ``(N,)``; at least one.
        seed: Seeds the folds of the comparison.
    """
    scores = get_args(SetScore)
    compared = {score: _cross_validate(probabilities, labels, score, seed=seed) for score in scores}
    valid = [score for score in scores if all(each["valid"] for each in compared[score])] or list(scores)
    chosen = min(valid, key=lambda score: sum(each["size"] for each in compared[score]))
    own = class_scores(probabilities, chosen)[np.arange(len(labels)), labels]
    return PredictionSets.from_scores(
        cast("SetScore", chosen),
        np.sort(own).tolist(),
        compared={
            score: [{key: value for key, value in each.items() if key != "valid"} for each in rows]
            for score, rows in compared.items()
            if rows
        },
    )


def find_sets(probabilities: NDArray[Any], score: SetScore, quantile: float) -> NDArray[np.bool_]:
    """Returns which classes are in the prediction set of each photo, bool ``(N, classes)``.

    A set always has the most probable class, so that none is empty.

    Args:
        probabilities: ``(N, classes)`` float.
        score: As in `PredictionSets`.
        quantile: The largest score of a class in a set (`PredictionSets.quantile`).
    """
    found = np.empty(probabilities.shape, dtype=bool)
    rows = max(1, _BLOCK // probabilities.shape[1])
    for start in range(0, len(found), rows):
        block = slice(start, start + rows)
        found[block] = class_scores(probabilities[block], score) <= quantile
    found[np.arange(len(found)), probabilities.argmax(axis=1)] = True
    return found


def class_scores(probabilities: NDArray[Any], score: SetScore) -> NDArray[np.float64]:
    """Returns the conformal score of every class of every photo, float64 ``(N, classes)``; low where it fits.

    Args:
        probabilities: ``(N, classes)`` float. Of equally probable classes, the first counts as more probable.
        score: As in `PredictionSets`.
    """
    p = probabilities.astype(np.float64)
    if score == "lac":
        return 1 - p
    order = np.argsort(-p, axis=1, kind="stable")
    ranked = np.take_along_axis(p, order, axis=1)
    before = np.zeros_like(p)
    np.cumsum(ranked[:, :-1], axis=1, out=before[:, 1:])
    scores = np.empty_like(p)
    np.put_along_axis(scores, order, before, axis=1)
    return scores


def _cross_validate(
    probabilities: NDArray[Any], labels: NDArray[Any], score: SetScore, *, seed: int
) -> list[dict[str, Any]]:
    """Returns promised and measured coverage and mean size of sets for held-out photos; of each coverage possible."""
    own = np.arange(len(labels))
    folds = np.random.default_rng(seed).permutation(len(labels)) % _FOLDS
    scores = class_scores(probabilities, score)
    rows = []
    for coverage in _COMPARED:
        found = np.zeros(probabilities.shape, dtype=bool)
        for fold in np.unique(folds):
            known, held_out = folds != fold, folds == fold
            sets = PredictionSets.from_scores(score, np.sort(scores[own, labels][known]).tolist() or [0.0])
            if sets.rank(coverage) > sets.photos:
                break
            found[held_out] = find_sets(probabilities[held_out], score, sets.quantile(coverage))
        else:
            hits = int(found[own, labels].sum())
            rows.append(
                {
                    "promised": coverage,
                    "coverage": hits / len(labels),
                    "size": float(found.sum(axis=1).mean()),
                    "valid": wilson_interval(hits, len(labels))[1] >= coverage,
                }
            )
    return rows
