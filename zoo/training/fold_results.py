"""The results of a cross-validation: the metrics of all out-of-fold predictions, and how to go on from there."""

from __future__ import annotations

import dataclasses
import shlex
from statistics import fmean
from typing import TYPE_CHECKING, Any

from zoo.inference.evaluate import evaluate_rows
from zoo.metrics.intervals import grouped_interval
from zoo.metrics.multi_label import MultiLabelEvaluation, evaluate_labels
from zoo.plugins.kinds import METRIC

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zoo.config import FinetuneConfig
    from zoo.metrics.classification import Evaluation
    from zoo.plugins.registry import Registry
    from zoo.plugins.specs import Sample
    from zoo.runs.predictions import PhotoPredictions
    from zoo.runs.run import RunFolder


def evaluate_folds(
    pooled: PhotoPredictions,
    classes: Sequence[str],
    config: FinetuneConfig,
    registry: Registry,
    runs: Sequence[RunFolder],
) -> Evaluation | MultiLabelEvaluation:
    """Returns the evaluation of out-of-fold predictions, with the metrics that the configuration names.

    With several labels per photo, each is decided at the thresholds of the run that held it out; the evaluation lists
    their means over the folds.

    Args:
        pooled: The predictions of all folds.
        classes: Class names.
        config: The configuration of the runs.
        registry: The plugins.
        runs: The runs of the folds.
    """
    groups = [(group, "" if group else name) for group, name in zip(pooled.groups, pooled.names, strict=True)]
    grouped = any(pooled.groups)
    if pooled.multi_label:
        thresholds = [fmean(values) for values in zip(*(run.thresholds for run in runs), strict=True)]
        return evaluate_labels(
            pooled.probabilities,
            pooled.labels,
            classes,
            thresholds,
            decided=pooled.predicted,
            groups=groups if grouped else (),
        )
    metrics = registry.choose_all(METRIC, config.metric, config.metric_options)
    evaluation = evaluate_rows(pooled.probabilities, pooled.labels, classes, metrics, runs[0].decision)
    if not grouped:
        return evaluation
    correct = (pooled.predicted == pooled.labels).tolist()
    return dataclasses.replace(evaluation, interval=grouped_interval(correct, groups))


def write_fold_pictures(
    folder: Path,
    pooled: PhotoPredictions,
    evaluation: Evaluation | MultiLabelEvaluation,
    samples: Sequence[Sample],
) -> None:
    """Writes the pictures of all folds together.

    Args:
        folder: The folder of the cross-validation.
        pooled: The predictions of all folds.
        evaluation: Their evaluation.
        samples: The photos of the predictions.
    """
    # Imported only now: matplotlib takes a second.
    from zoo import report

    title, count, sheet = f"{folder.name}, all folds", len(samples), folder / "mistakes.png"
    if isinstance(evaluation, MultiLabelEvaluation):
        picture, p = folder / "precision_recall.png", pooled.probabilities
        report.write_precision_recall(picture, evaluation, p, pooled.labels, title=title)
        wrong = report.find_label_mistakes(p, samples, pooled.predicted)
        report.write_label_mistakes(sheet, wrong, classes=evaluation.classes, count=count, title=title)
        return
    mistakes = report.find_mistakes(pooled.probabilities, samples, pooled.predicted.tolist())
    report.write_confusion(folder / "confusion.png", evaluation, title=title)
    report.write_mistakes(sheet, mistakes, classes=evaluation.classes, count=count, title=title)


def describe_results(
    evaluation: Evaluation | MultiLabelEvaluation,
    runs: Sequence[RunFolder],
    *,
    groups: Sequence[str],
    left_out: int,
    seconds: float,
) -> dict[str, Any]:
    """Returns what ``folds.json`` contains under ``results``.

    Args:
        evaluation: That of all folds together.
        runs: The runs of the folds, in their order.
        groups: The group of each photo, or empty text.
        left_out: Number of photos in no fold.
        seconds: Duration of all trainings.
    """
    return {
        **evaluation.to_dict(),
        "groups": len(set(groups) - {""}),
        "left_out": left_out,
        "folds": [{"run": run.name, **run.results["test"], "best_epoch": run.results["best_epoch"]} for run in runs],
        "seconds": seconds,
    }


def final_command(fold: Path, config: FinetuneConfig) -> str:
    """Returns the command that trains the final model on all photos; empty if it cannot name the data.

    Args:
        fold: The run of a fold.
        config: The settings of the final model.
    """
    if not isinstance(config.data, str):
        return ""
    test = () if config.test_fraction else ("--test-fraction", "0")
    return shlex.join(("zoo", "finetune", "--like", str(fold), "--fold", "none", *test))
