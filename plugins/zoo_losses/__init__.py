"""The built-in losses: cross-entropy, focal, bce, asymmetric and poly-1. Importing it imports no torch."""

from __future__ import annotations

import zoo
from zoo_losses.options import AsymmetricOptions, FocalOptions, PolyOptions


@zoo.hookimpl
def zoo_losses() -> list[zoo.LossSpec]:
    """Returns the five losses."""
    return [
        zoo.LossSpec(
            name="cross-entropy",
            summary="Cross-entropy of the softmax.",
            build="zoo_losses.softmax:cross_entropy",
            smooths_labels=True,
            per_image=True,
        ),
        zoo.LossSpec(
            name="focal",
            summary="Cross-entropy that gives easy photos less weight, for imbalanced classes (Lin et al. 2017).",
            build="zoo_losses.softmax:focal",
            per_image=True,
            options=FocalOptions,
        ),
        zoo.LossSpec(
            name="poly-1",
            summary="Cross-entropy plus a multiple of the missing probability (Leng et al. 2022).",
            build="zoo_losses.softmax:poly_1",
            per_image=True,
            options=PolyOptions,
        ),
        zoo.LossSpec(
            name="bce",
            summary="One binary cross-entropy per class, with probabilities that need not sum to one.",
            build="zoo_losses.sigmoid:bce",
            per_image=True,
            per_label=True,
            activation="sigmoid",
        ),
        zoo.LossSpec(
            name="asymmetric",
            summary="Binary cross-entropies that give easy negatives less weight, for many classes "
            "(Ridnik et al. 2021).",
            build="zoo_losses.sigmoid:asymmetric",
            per_image=True,
            per_label=True,
            activation="sigmoid",
            options=AsymmetricOptions,
        ),
    ]
