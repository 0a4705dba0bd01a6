"""Calibrates the probabilities of a trained job, on photos that its head has not seen."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from zoo.events import Note
from zoo.metrics.calibration import Calibration
from zoo.metrics.conformal import choose_sets
from zoo.metrics.temperature import calibrate, to_probabilities
from zoo.plugins.contracts import Head
from zoo.training.forward import Outputs
from zoo.training.linear_probe import predict_unseen

if TYPE_CHECKING:
    from zoo.training.job import Job

_MOST = 2**24  # probabilities of which prediction sets are chosen
OUT_OF_FOLD, VALIDATION = "out-of-fold", "validation"


def calibrate_job(job: Job, val: Outputs, *, unchanged: bool) -> Outputs:
    """Calibrates a job: records how, and lets its head return calibrated probabilities from here on.

    A probe is calibrated on training and validation photos in cross-validation, each predicted by a fit that did not
    see it: they are ten times as many as the validation photos, which the final head of a refitted probe has seen. All
    other networks are calibrated on the outputs for the validation photos.

    Args:
        job: A trained job, with the head that `val` was computed with.
        val: The outputs for the validation photos.
        unchanged: Whether the backbone still has the weights of the start, so that cached features are valid.

    Returns:
        The outputs that it was calibrated on, for the choice of thresholds.
    """

    def choose() -> tuple[Calibration, Outputs]:
        unseen = predict_unseen(job) if unchanged else None
        outputs = val if unseen is None else Outputs(*(each.cpu() for each in unseen))
        return _calibrate(job, outputs, fitted_on=VALIDATION if unseen is None else OUT_OF_FOLD), outputs

    calibration, outputs = job.processes.broadcast(choose)
    job.record = dataclasses.replace(job.record, calibration=calibration)
    head = job.classifier.head
    head.criterion = dataclasses.replace(head.criterion, temperature=calibration.temperature)
    if job.config.calibration == "temperature" and not calibration.changes:
        job.observer(Note(text=f"Probabilities are not calibrated: {calibration.note}.", warning=True))
    if calibration.changes:
        job.observer(Note(text=f"Probabilities are calibrated: {calibration.describe()}."))
    return outputs


def _calibrate(job: Job, outputs: Outputs, *, fitted_on: str) -> Calibration:
    config, head = job.config, job.classifier.head
    logits, targets = outputs.logits.float().numpy(), outputs.labels.numpy()
    activation = head.criterion.activation
    if type(head).probabilities is not Head.probabilities:
        note = "the head computes probabilities in a way of its own"
        found = Calibration(method="none", activation=activation, photos=len(logits), note=note)
        probabilities = outputs.probabilities(head).numpy()
    else:
        found = calibrate(logits, targets, activation=activation, wanted=config.calibration, seed=config.seed)
        probabilities = to_probabilities(logits, found.temperature, activation)
    sets = None
    if not job.images.multi_label:
        few = slice(max(1, _MOST // logits.shape[1]))
        sets = choose_sets(probabilities[few], targets[few], seed=config.seed)
    return dataclasses.replace(found, fitted_on=fitted_on, sets=sets)
