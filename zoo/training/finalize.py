"""Completes a run: evaluates the best weights, once on the test split, and writes the pictures."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from zoo.metrics.classification import evaluate_predictions
from zoo.models.fold_bn import fold_classifier
from zoo.models.runtime import float32_precision
from zoo.report import Mistake, find_mistakes, write_pictures
from zoo.runs.run import Run
from zoo.runs.weights import load_weights
from zoo.training.forward import compute_outputs
from zoo.training.job import eval_batches
from zoo.training.record import summarise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zoo.metrics.classification import Evaluation
    from zoo.models.classifier import Classifier
    from zoo.plugins.specs import Sample
    from zoo.training.job import Job


def finalize(job: Job) -> dict[str, Any]:
    """Returns the ``results`` of the run record, and writes the pictures of the run.

    Args:
        job: A trained job; its classifier gets the weights of the best epoch.
    """
    run = Run(job.folder, job.record)
    job.cache.release("train")  # makes room for the test photos
    if job.processes.is_main:
        load_weights(run, job.classifier)
    job.processes.sync_module(job.classifier)
    network = fold_classifier(job.classifier, image_size=job.preprocess.size, precision=job.precision)
    splits = {"val": job.images.val, "test": job.images.test}
    with float32_precision(job.precision):  # as in the evaluations after epochs
        evaluated = {split: _evaluate(job, network, split, samples) for split, samples in splits.items() if samples}
    return job.processes.broadcast(lambda: _results(job, run, evaluated))


def _evaluate(
    job: Job, network: Classifier, split: str, samples: Sequence[Sample]
) -> tuple[Evaluation, tuple[Mistake, ...]]:
    if split in job.evaluated:
        batches, samples = job.evaluated[split]
    else:
        batches = loader = eval_batches(job, split, samples)
        samples = loader.store.samples
    outputs = compute_outputs(network, batches, job.precision, micro_batches=job.micro_batches, processes=job.processes)
    probabilities = outputs.probabilities(network.head).numpy()
    evaluation = evaluate_predictions(probabilities, outputs.labels.numpy(), job.images.classes)
    return evaluation, find_mistakes(probabilities, samples)


def _results(job: Job, run: Run, evaluated: Mapping[str, tuple[Evaluation, tuple[Mistake, ...]]]) -> dict[str, Any]:
    rows = run.metrics()
    best = max((row for row in rows if row["best"]), key=lambda row: row["epoch"])
    if job.pictures:
        split = "test" if "test" in evaluated else "val"
        evaluation, mistakes = evaluated[split]
        names = {"test": "test", "val": "validation"}
        write_pictures(job.folder, rows=rows, evaluation=evaluation, mistakes=mistakes, split=names[split])
    trained = [row for row in rows if row["epoch"]] or rows  # epoch 0 is the probe
    return {
        "best_epoch": best["epoch"],
        **{split: summarise(evaluation) for split, (evaluation, _) in evaluated.items()},
        "images_per_second": median(row["images_per_second"] for row in trained),
    }
