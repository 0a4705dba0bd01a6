"""Ends a run: scores the best weights once on the test part, and draws the pictures."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from zoo.metrics.classification import evaluate_predictions
from zoo.models.fold_bn import folded
from zoo.models.runtime import float32_arithmetic
from zoo.report import Mistake, find_mistakes, write_confusion, write_curves, write_mistakes
from zoo.runs.run import Run
from zoo.runs.weights import load_weights
from zoo.training.forward import compute_outputs
from zoo.training.job import eval_batches
from zoo.training.record import figures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zoo.metrics.classification import Evaluation
    from zoo.models.classifier import Classifier
    from zoo.plugins.specs import Sample
    from zoo.training.job import Job

_PARTS = ("val", "test")


def finalize(job: Job) -> dict[str, Any]:
    """Returns ``results`` of the run record; writes ``curves.png``, ``confusion.png`` and ``mistakes.png``.

    Args:
        job: A trained job; its classifier is given the weights of the best epoch.
    """
    run = Run(job.folder, job.record)
    job.cache.release("train")  # the test photos may want the room
    if job.processes.is_main:
        load_weights(run, job.classifier)
    job.processes.sync_module(job.classifier)
    network = folded(job.classifier, image_size=job.preprocess.size, precision=job.precision)
    parts = [part for part in _PARTS if getattr(job.images, part)]
    with float32_arithmetic(job.precision):  # as the epochs were scored
        scored = {part: _score(job, network, part, getattr(job.images, part)) for part in parts}
    return job.processes.broadcast(lambda: _write(job, run, scored))


def _write(job: Job, run: Run, scored: Mapping[str, tuple[Evaluation, tuple[Mistake, ...]]]) -> dict[str, Any]:
    rows = run.metrics()
    best = max((row for row in rows if row["best"]), key=lambda row: row["epoch"])
    results: dict[str, Any] = {"best_epoch": best["epoch"]}
    results.update({part: figures(evaluation) for part, (evaluation, _) in scored.items()})
    evaluation, mistakes = [*scored.values()][-1]  # the pictures show the test, where there is one
    title = f"{job.folder.name}, {'test' if job.images.test else 'validation'}"
    write_curves(job.folder / "curves.png", rows, title=job.folder.name)
    write_confusion(job.folder / "confusion.png", evaluation, title=title)
    write_mistakes(
        job.folder / "mistakes.png", mistakes, classes=job.images.classes, count=evaluation.count, title=title
    )
    trained = [row for row in rows if row["epoch"]] or rows  # the probe is no training
    results["images_per_second"] = median(row["images_per_second"] for row in trained)
    return results


def _score(
    job: Job, network: Classifier, part: str, samples: Sequence[Sample]
) -> tuple[Evaluation, tuple[Mistake, ...]]:
    if part in job.evaluated:
        batches, samples = job.evaluated[part]
    else:
        batches = loader = eval_batches(job, part, samples)
        samples = loader.store.samples
    outputs = compute_outputs(network, batches, job.precision, micro_batches=job.micro_batches, processes=job.processes)
    probabilities = outputs.probabilities(network.head).numpy()
    evaluation = evaluate_predictions(probabilities, outputs.labels.numpy(), job.images.classes)
    return evaluation, find_mistakes(probabilities, samples)
