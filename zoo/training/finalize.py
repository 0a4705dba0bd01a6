"""Completes a run: evaluates the best weights, once on the test split, and writes the pictures."""

from __future__ import annotations

import dataclasses
from statistics import median
from typing import TYPE_CHECKING, Any

from zoo.data.sources.fingerprint import find_changed
from zoo.events import Note
from zoo.metrics.chosen import merge_values
from zoo.metrics.classification import evaluate_predictions
from zoo.models.classifier import Classifier
from zoo.models.fold_bn import fold_classifier
from zoo.report import Mistake, find_mistakes, write_pictures
from zoo.runs.predictions import PhotoPredictions, write_predictions
from zoo.runs.run import PREDICTIONS, RunFolder
from zoo.runs.weights import load_weights, save_weights
from zoo.training.distributed.process_group import SINGLE_PROCESS
from zoo.training.finite import check_outputs
from zoo.training.forward import compute_outputs
from zoo.training.frozen.features import FrozenClassifier, HeadOnFeatures, PooledBackbone
from zoo.training.job import eval_batches, find_engine
from zoo.training.linear_probe import find_features, refit
from zoo.training.record import summarise
from zoo.utils.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from zoo.data.loading.loader import Batch
    from zoo.metrics.classification import Evaluation
    from zoo.plugins.specs import Sample
    from zoo.training.distributed.process_group import ProcessGroup
    from zoo.training.job import Job


def finalize(job: Job) -> dict[str, Any]:
    """Returns the ``results`` of the run record, and writes the pictures of the run.

    Args:
        job: A trained job; its classifier gets the weights of the best epoch.
    """
    run = RunFolder(job.folder, job.record)
    if job.processes.is_main:
        load_weights(run, job.classifier)
    job.processes.sync_module(job.classifier)
    unchanged = job.config.freeze == "all" or _best_row(run)["epoch"] == 0
    evaluated = dict(_evaluate_splits(job, unchanged=unchanged))
    results = job.processes.broadcast(lambda: _results(job, run, evaluated))
    if _is_refitted(job, unchanged=unchanged) and job.processes.is_main:
        # Last: a run that is killed before evaluates its validation photos with a head that has not seen them.
        save_weights(job.folder, job.classifier)
    return results


def _is_refitted(job: Job, *, unchanged: bool) -> bool:
    return unchanged and job.config.refit and bool(job.record.probe)


def _evaluate_splits(job: Job, *, unchanged: bool) -> Iterator[tuple[str, tuple[Evaluation, tuple[Mistake, ...]]]]:
    """Yields the evaluation of the validation and the test photos.

    Args:
        job: The training, with its best weights.
        unchanged: Whether the backbone still has the weights of the start, so that cached features are valid.
    """
    if unchanged:
        head, features = HeadOnFeatures(job.classifier.head), find_features(job).val
        photos = eval_batches(job, "val").store.samples
        yield "val", _evaluate(job, "val", head, features, photos, processes=SINGLE_PROCESS)  # each has all features
        if _is_refitted(job, unchanged=unchanged):
            refit(job)
    else:
        batches, samples = job.evaluated["val"]
        folded = fold_classifier(job.classifier, image_size=job.preprocess.size, precision=job.precision)
        yield "val", _evaluate(job, "val", folded, batches, samples)
    job.cache.release("train")  # makes room for the test photos
    if job.images.test and not job.trial:
        network = (
            FrozenClassifier(find_features(job).run, job.classifier.head) if unchanged else _in_fastest_engine(job)
        )
        loader = eval_batches(job, "test")
        yield "test", _evaluate(job, "test", network, loader, loader.store.samples)


def _in_fastest_engine(job: Job) -> FrozenClassifier:
    classifier = Classifier(job.classifier.backbone, job.classifier.head)  # not split
    folded = fold_classifier(classifier, image_size=job.preprocess.size, precision=job.precision)
    network = PooledBackbone(folded.backbone, [folded.head], image_size=job.preprocess.size).eval()
    run = find_engine(job, network, what="features", images=len(job.images.test)).run
    return FrozenClassifier(lambda images: run(images)[0], folded.head)


def _best_row(run: RunFolder) -> Mapping[str, Any]:
    return max((row for row in run.metrics() if row["best"]), key=lambda row: row["epoch"])


def _evaluate(
    job: Job,
    split: str,
    network: nn.Module,
    batches: Iterable[Batch],
    samples: Sequence[Sample],
    processes: ProcessGroup | None = None,
) -> tuple[Evaluation, tuple[Mistake, ...]]:
    outputs = compute_outputs(
        network, batches, job.precision, micro_batches=job.micro_batches, processes=processes or job.processes
    )
    check_outputs(outputs.logits, samples, split=split)
    probabilities = outputs.probabilities(job.classifier.head).numpy()
    if split == "test" and job.config.held_out_fold and job.processes.is_main:
        _write_fold(job, samples, outputs.labels.numpy(), probabilities)
    evaluation = evaluate_predictions(probabilities, outputs.labels.numpy(), job.images.classes)
    chosen = merge_values(job.monitor.compute(outputs, job.classifier.head))
    return dataclasses.replace(evaluation, metrics=chosen), find_mistakes(probabilities, samples)


def _write_fold(
    job: Job, samples: Sequence[Sample], labels: NDArray[np.int64], probabilities: NDArray[np.float32]
) -> None:
    """Writes the predictions for the photos of the fold that the run holds out."""
    assert job.config.held_out_fold is not None
    predictions = PhotoPredictions(
        names=tuple(sample.name for sample in samples),
        groups=tuple(sample.group for sample in samples),
        folds=(job.config.held_out_fold[0],) * len(samples),
        labels=labels,
        probabilities=probabilities,
    )
    write_predictions(job.folder / PREDICTIONS, predictions, job.images.classes)


def _check_photos(job: Job, run: RunFolder) -> None:
    """Reports and records the photos that changed during training: those that were decoded again and again may have."""
    changed = {}
    for split, placement in job.cache.placements.items():
        samples = getattr(job.images, split)
        if placement["kept"] < placement["photos"] and (names := find_changed(samples, run.photos().by_name(split))):
            changed[split] = names
            text = f"{len(names)} of {len(samples)} {split} photos changed during training; the first: "
            job.observer(Note(text=f"{text}{printable(names[0])}.", warning=True))
    if changed:
        job.record = job.record.with_data(changed=changed)


def _results(
    job: Job, run: RunFolder, evaluated: Mapping[str, tuple[Evaluation, tuple[Mistake, ...]]]
) -> dict[str, Any]:
    _check_photos(job, run)
    rows = run.metrics()
    if job.pictures:
        split = "test" if "test" in evaluated else "val"
        evaluation, mistakes = evaluated[split]
        names = {"test": "test", "val": "validation"}
        write_pictures(job.folder, rows=rows, evaluation=evaluation, mistakes=mistakes, split=names[split])
    trained = [row for row in rows if row["epoch"]] or rows  # epoch 0 is the probe
    return {
        "best_epoch": _best_row(run)["epoch"],
        **({"stopped": job.stopped} if job.stopped else {}),
        **{split: summarise(evaluation) for split, (evaluation, _) in evaluated.items()},
        "images_per_second": median(row["images_per_second"] for row in trained),
    }
