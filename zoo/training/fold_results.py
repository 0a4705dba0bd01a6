"""The results of a cross-validation: the metrics of all out-of-fold predictions, and how to go on from there."""

from __future__ import annotations

import dataclasses
import shlex
from typing import TYPE_CHECKING, Any

from zoo.inference.evaluate import evaluate_rows
from zoo.metrics.intervals import grouped_interval
from zoo.plugins.kinds import METRIC

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zoo.config import FinetuneConfig
    from zoo.metrics.classification import Evaluation
    from zoo.plugins.registry import Registry
    from zoo.runs.predictions import PhotoPredictions
    from zoo.runs.run import RunFolder


def evaluate_folds(
    pooled: PhotoPredictions, classes: Sequence[str], config: FinetuneConfig, registry: Registry
) -> Evaluation:
    """Returns the evaluation of out-of-fold predictions, with the metrics that the configuration names.

    Args:
        pooled: The predictions of all folds.
        classes: Class names.
        config: The configuration of the runs.
        registry: The plugins.
    """
    metrics = registry.choose_all(METRIC, config.metric, config.metric_options)
    evaluation = evaluate_rows(pooled.probabilities, pooled.labels, classes, metrics)
    if not any(pooled.groups):
        return evaluation
    correct = (pooled.probabilities.argmax(axis=1) == pooled.labels).tolist()
    groups = [(group, "" if group else name) for group, name in zip(pooled.groups, pooled.names, strict=True)]
    return dataclasses.replace(evaluation, interval=grouped_interval(correct, groups))


def describe_results(
    evaluation: Evaluation, runs: Sequence[RunFolder], *, groups: Sequence[str], left_out: int, seconds: float
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
        "balanced_accuracy": evaluation.balanced_accuracy,
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
