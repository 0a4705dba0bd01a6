"""Completes a run: evaluates the best weights, once on the test split, and writes the pictures."""

from __future__ import annotations

import dataclasses
from statistics import median
from typing import TYPE_CHECKING, Any, cast

from zoo.config import OWNER
from zoo.config.threshold_rule import parse_threshold_rule
from zoo.data.sources.fingerprint import find_changed
from zoo.events import Note
from zoo.metrics.chosen import merge_values
from zoo.metrics.classification import evaluate_predictions
from zoo.metrics.costs import decide_classes
from zoo.metrics.multi_label import MultiLabelEvaluation, evaluate_labels
from zoo.metrics.reliability_report import report_reliability
from zoo.metrics.temperature import remove_temperature
from zoo.metrics.thresholds import Thresholds, choose_thresholds, decide
from zoo.models.classifier import Classifier
from zoo.models.fold_bn import fold_classifier
from zoo.report import (
    LabelMistake,
    Mistake,
    find_label_mistakes,
    find_mistakes,
    write_label_pictures,
    write_pictures,
    write_reliability,
)
from zoo.runs.predictions import PhotoPredictions, write_predictions
from zoo.runs.run import PREDICTIONS, RunFolder
from zoo.runs.weights import load_weights, save_weights
from zoo.training.calibrate import calibrate_job
from zoo.training.distributed.process_group import SINGLE_PROCESS
from zoo.training.familiarity import measure_familiarity
from zoo.training.finite import check_outputs
from zoo.training.forward import Outputs, compute_outputs
from zoo.training.frozen.features import FrozenClassifier, HeadOnFeatures, PooledBackbone
from zoo.training.job import eval_batches, find_engine
from zoo.training.linear_probe import find_features, refit
from zoo.training.record import summarise
from zoo.training.scores import Scores
from zoo.utils.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from zoo.data.loading.loader import Batch
    from zoo.metrics.calibration import Calibration
    from zoo.metrics.classification import Evaluation
    from zoo.plugins.specs import Sample
    from zoo.training.distributed.process_group import ProcessGroup
    from zoo.training.job import Job


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Evaluated:
    """The evaluation of a split.

    Attributes:
        evaluation: The metrics.
        calibration: That of the probabilities.
        mistakes: All mistakes, the most confident first.
        probabilities: float32 ``(N, classes)``.
        targets: int64 ``(N,)``, or multi-hot uint8 ``(N, classes)``.
    """

    evaluation: Evaluation | MultiLabelEvaluation
    calibration: Calibration | None
    mistakes: tuple[Mistake, ...] | tuple[LabelMistake, ...]
    probabilities: NDArray[np.float32]
    targets: NDArray[Any]

    def write_pictures(self, folder: Path, rows: Sequence[dict[str, Any]], *, split: str) -> None:
        """Writes the pictures of a run into its folder."""
        evaluation, mistakes = self.evaluation, cast("Any", self.mistakes)
        write_reliability(
            folder / "reliability.png",
            self.probabilities,
            self.targets,
            self.calibration,
            title=f"{folder.name}, {split}",
        )
        if isinstance(evaluation, MultiLabelEvaluation):
            write_label_pictures(
                folder,
                rows=rows,
                evaluation=evaluation,
                mistakes=mistakes,
                probabilities=self.probabilities,
                targets=self.targets,
                split=split,
            )
        else:
            write_pictures(folder, rows=rows, evaluation=evaluation, mistakes=mistakes, split=split)


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
    job.record = dataclasses.replace(job.record, familiarity=measure_familiarity(job, unchanged=unchanged))
    if _is_refitted(job, unchanged=unchanged) and job.processes.is_main:
        # Last: a run that is killed before evaluates its validation photos with a head that has not seen them.
        save_weights(job.folder, job.classifier)
    return results


def _is_refitted(job: Job, *, unchanged: bool) -> bool:
    return unchanged and job.config.refit and bool(job.record.probe)


def _evaluate_splits(job: Job, *, unchanged: bool) -> Iterator[tuple[str, _Evaluated]]:
    """Yields the evaluation of the validation and the test photos.

    Before the first, probabilities are calibrated and then thresholds chosen, on photos that the head has not seen, and
    both are written to the record of the job.

    Args:
        job: The training, with its best weights.
        unchanged: Whether the backbone still has the weights of the start, so that cached features are valid.
    """
    if unchanged:
        head, features = HeadOnFeatures(job.classifier.head), find_features(job).val
        photos = eval_batches(job, "val").store.samples
        outputs = _compute(job, "val", head, features, photos, processes=SINGLE_PROCESS)  # each has all features
        _choose_thresholds(job, calibrate_job(job, outputs, unchanged=True))
        yield "val", _evaluate(job, "val", outputs, photos)
        if _is_refitted(job, unchanged=unchanged):
            refit(job)
    else:
        batches, samples = job.evaluated["val"]
        folded = fold_classifier(job.classifier, image_size=job.preprocess.size, precision=job.precision)
        outputs = _compute(job, "val", folded, batches, samples)
        _choose_thresholds(job, calibrate_job(job, outputs, unchanged=False))
        yield "val", _evaluate(job, "val", outputs, samples)
    job.cache.release("train")  # makes room for the test photos
    if job.images.test and not job.trial:
        network = (
            FrozenClassifier(find_features(job).run, job.classifier.head) if unchanged else _in_fastest_engine(job)
        )
        loader = eval_batches(job, "test")
        tested = loader.store.samples
        yield "test", _evaluate(job, "test", _compute(job, "test", network, loader, tested), tested)


def _in_fastest_engine(job: Job) -> FrozenClassifier:
    classifier = Classifier(job.classifier.backbone, job.classifier.head)  # not split
    folded = fold_classifier(classifier, image_size=job.preprocess.size, precision=job.precision)
    network = PooledBackbone(folded.backbone, [folded.head], image_size=job.preprocess.size).eval()
    run = find_engine(job, network, what="features", images=len(job.images.test)).run
    return FrozenClassifier(lambda images: run(images)[0], folded.head)


def _best_row(run: RunFolder) -> Mapping[str, Any]:
    return max((row for row in run.metrics() if row["best"]), key=lambda row: row["epoch"])


def _compute(
    job: Job,
    split: str,
    network: nn.Module,
    batches: Iterable[Batch],
    samples: Sequence[Sample],
    processes: ProcessGroup | None = None,
) -> Outputs:
    outputs = compute_outputs(
        network, batches, job.precision, micro_batches=job.micro_batches, processes=processes or job.processes
    )
    check_outputs(outputs.logits, samples, split=split)
    return outputs


def _choose_thresholds(job: Job, unseen: Outputs) -> None:
    """Chooses the thresholds of a job with several labels per photo on calibrated probabilities, and records them.

    Args:
        job: A calibrated job.
        unseen: The outputs that it was calibrated on.
    """
    if not job.images.multi_label:
        return
    head, rule = job.classifier.head, parse_threshold_rule(job.config.threshold, owner=OWNER)

    def choose() -> Thresholds:
        return choose_thresholds(unseen.probabilities(head).numpy(), unseen.labels.numpy(), rule, job.images.classes)

    chosen = job.processes.broadcast(choose)
    job.record = dataclasses.replace(job.record, thresholds=chosen.values)
    for text in chosen.notes:
        job.observer(Note(text=text, warning=True))


def _evaluate(job: Job, split: str, outputs: Outputs, samples: Sequence[Sample]) -> _Evaluated:
    probabilities, targets = outputs.probabilities(job.classifier.head).numpy(), outputs.labels.numpy()
    reliability = report_reliability(probabilities, targets, job.record.calibration)
    if job.images.multi_label:
        thresholds = job.record.thresholds
        decided = decide(probabilities, thresholds)
        _write_fold(job, split, samples, targets, decided, probabilities)
        return _Evaluated(
            evaluation=dataclasses.replace(
                evaluate_labels(probabilities, targets, job.images.classes, thresholds), reliability=reliability
            ),
            calibration=job.record.calibration,
            mistakes=find_label_mistakes(probabilities, samples, decided),
            probabilities=probabilities,
            targets=targets,
        )
    if job.scores is not None:
        # Before calibration, which validation photos took part in: searches compare trainings by these.
        job.scores[split] = Scores.of(_uncalibrated(job, probabilities), targets)
    classes, decision = job.images.classes, job.record.decision
    evaluation = evaluate_predictions(probabilities, targets, classes, decision)
    predicted = decide_classes(probabilities, classes, decision)
    _write_fold(job, split, samples, targets, predicted, probabilities)
    chosen = merge_values(job.monitor.compute(outputs, job.classifier.head))
    return _Evaluated(
        evaluation=dataclasses.replace(evaluation, metrics=chosen, reliability=reliability),
        calibration=job.record.calibration,
        mistakes=find_mistakes(probabilities, samples, predicted.tolist()),
        probabilities=probabilities,
        targets=targets,
    )


def _uncalibrated(job: Job, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    calibration = job.record.calibration
    return probabilities if calibration is None else remove_temperature(probabilities, calibration)


def _write_fold(
    job: Job,
    split: str,
    samples: Sequence[Sample],
    labels: NDArray[Any],
    predicted: NDArray[Any],
    probabilities: NDArray[np.float32],
) -> None:
    """Writes the predictions for a split if its photos are those of the fold that the run holds out."""
    if split != "test" or job.config.held_out_fold is None or not job.processes.is_main:
        return
    predictions = PhotoPredictions(
        names=tuple(sample.name for sample in samples),
        groups=tuple(sample.group for sample in samples),
        folds=(job.config.held_out_fold[0],) * len(samples),
        labels=labels,
        predicted=predicted,
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


def _results(job: Job, run: RunFolder, evaluated: Mapping[str, _Evaluated]) -> dict[str, Any]:
    _check_photos(job, run)
    rows = run.metrics()
    if job.pictures:
        split = "test" if "test" in evaluated else "val"
        names = {"test": "test", "val": "validation"}
        evaluated[split].write_pictures(job.folder, rows, split=names[split])
    trained = [row for row in rows if row["epoch"]] or rows  # epoch 0 is the probe
    return {
        "best_epoch": _best_row(run)["epoch"],
        **({"stopped": job.stopped} if job.stopped else {}),
        **{split: summarise(each.evaluation) for split, each in evaluated.items()},
        "images_per_second": median(row["images_per_second"] for row in trained),
    }
