"""Evaluates several models on the same photos, and compares each with the first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zoo.data.sources.fingerprint import hash_sample
from zoo.display.progress import choose_observer
from zoo.errors import ConfigError, DataError, ImageError
from zoo.events import Note
from zoo.inference.evaluate import (
    SPLITS,
    check_split,
    evaluate_rows,
    open_with_samples,
    predict_samples,
    report_notes,
)
from zoo.inference.open import ModelFile, find_model, load_model
from zoo.metrics.chosen import check_metrics
from zoo.metrics.costs import decide_classes
from zoo.metrics.multi_label import evaluate_labels
from zoo.metrics.paired import PairedDifference, compare_predictions
from zoo.metrics.paired_labels import PairedLabelDifference, compare_label_predictions
from zoo.metrics.reliability_report import report_reliability
from zoo.plugins.kinds import METRIC
from zoo.plugins.registry import REGISTRY, load_registry
from zoo.runs.run import RunFolder
from zoo.utils.arguments import DICT, FUNCTION, LIST, NAMES, PATH, TEXT, accepts

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from zoo.events import Observer
    from zoo.inference.predictor import EngineName, PhotoPredictor
    from zoo.metrics.classification import Evaluation
    from zoo.metrics.multi_label import MultiLabelEvaluation
    from zoo.plugins.registry import Registry
    from zoo.plugins.specs import ImageSet, Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedEvaluation:
    """The evaluations of several models on the same photos.

    Attributes:
        evaluations: The evaluation of each model, by its name. All are for one class per photo, or all for any number
            of labels.
        differences: Each model but the first, compared with the first.
    """

    evaluations: Mapping[str, Evaluation] | Mapping[str, MultiLabelEvaluation]
    differences: tuple[PairedDifference, ...] | tuple[PairedLabelDifference, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON: ``models``, each with its ``name``, and ``differences``."""
        models = [{"name": name, **evaluation.to_dict()} for name, evaluation in self.evaluations.items()]
        return {"models": models, "differences": [each.to_dict() for each in self.differences]}


@accepts(
    models=LIST,
    split=TEXT,
    device=TEXT,
    observer=FUNCTION | None,
    registry=REGISTRY | None,
    engine=TEXT,
    data_options=DICT | None,
    labels=PATH | None,
    metrics=NAMES,
    metric_options=DICT | None,
)
def evaluate_paired(
    models: Sequence[RunFolder | ModelFile | str | os.PathLike[str]],
    *,
    data: str | os.PathLike[str] | ImageSet | None = None,
    split: str = "test",
    device: str = "auto",
    observer: Observer | None = None,
    registry: Registry | None = None,
    engine: EngineName = "torch",
    data_options: Mapping[str, Any] | None = None,
    labels: str | os.PathLike[str] | None = None,
    metrics: Sequence[str] = (),
    metric_options: Mapping[str, Any] | None = None,
) -> PairedEvaluation:
    """Evaluates several models on the same photos, and compares each with the first.

    Photos that one of the runs was trained on, or chosen by, are left out: another split of the same data than that of
    the first run would favour it.

    Args:
        models: Two or more, as in `zoo.evaluate`. Their classes must be the same, in any order; all must predict one
            class per photo, or all any number of labels.
        data: As in `zoo.evaluate`; by default the data of the first that is a run.
        split: As in `zoo.evaluate`.
        device: As in `zoo.evaluate`.
        observer: As in `zoo.evaluate`.
        registry: As in `zoo.evaluate`.
        engine: As in `zoo.evaluate`.
        data_options: As in `zoo.evaluate`.
        labels: As in `zoo.evaluate`.
        metrics: As in `zoo.evaluate`.
        metric_options: As in `zoo.evaluate`.

    Raises:
        ConfigError: There are fewer than two models, or one is given twice.
        DataError: The models have different classes, or no photos are left.
        ZooError: The other errors of `zoo.evaluate`.
    """
    split, observer = check_split(split), choose_observer(observer)
    registry = registry or load_registry()
    chosen = registry.choose_all(METRIC, metrics, metric_options or {})
    if len(models) < 2:
        raise ConfigError("A comparison needs at least two models.", hint="'zoo.evaluate' evaluates one.")
    predictors, samples, classes = open_together(
        find_models(models, registry),
        split=split,
        data=data,
        registry=registry,
        observer=observer,
        data_options=data_options,
        labels=labels,
        device=device,
        engine=engine,
    )
    multi_label = next(iter(predictors.values())).multi_label
    check_metrics(chosen, classes, multi_label=multi_label)
    rows, targets = _predict_all(predictors, samples, classes, split, observer)
    if multi_label:
        return _evaluate_labels(rows, targets, classes, predictors)
    return PairedEvaluation(
        evaluations={
            name: evaluate_rows(each, targets, classes, chosen, own.decision, own.calibration)
            for name, each in rows.items()
            for own in [predictors[name]]
        },
        differences=_compare(
            {name: decide_classes(each, classes, predictors[name].decision) for name, each in rows.items()}, targets
        ),
    )


def _evaluate_labels(
    rows: Mapping[str, NDArray[np.float32]],
    targets: NDArray[Any],
    classes: Sequence[str],
    predictors: Mapping[str, PhotoPredictor],
) -> PairedEvaluation:
    """Returns the result for models that decide on any number of labels; arguments as `_predict_all` returns them."""
    thresholds = {
        name: tuple(each.thresholds[each.classes.index(label)] for label in classes)
        for name, each in predictors.items()
    }
    first, *others = rows
    return PairedEvaluation(
        evaluations={
            name: replace(
                evaluate_labels(rows[name], targets, classes, thresholds[name]),
                reliability=report_reliability(rows[name], targets, predictors[name].calibration),
            )
            for name in rows
        },
        differences=tuple(
            compare_label_predictions(
                first, each, (rows[first], rows[each]), (thresholds[first], thresholds[each]), targets
            )
            for each in others
        ),
    )


def find_models(
    models: Sequence[RunFolder | ModelFile | str | os.PathLike[str]], registry: Registry
) -> dict[str, RunFolder | ModelFile]:
    """Returns models by name; by path if two have the same name.

    Raises:
        ConfigError: A model is given twice.
        RunError: There is no such run or file.
    """
    opened = [
        each if isinstance(each, RunFolder | ModelFile) else find_model(each, registry=registry) for each in models
    ]
    names = [each.name if isinstance(each, RunFolder) else str(each.path) for each in opened]
    if len(set(names)) < len(names):
        names = [str(each.path) for each in opened]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"{twice} is given twice.", hint="Name different models.")
    return dict(zip(names, opened, strict=True))


class OpenedModels(NamedTuple):
    """Models that are ready to predict on the same photos.

    Attributes:
        predictors: The models by name.
        samples: The photos.
        classes: The class names that their labels count; the models have them in any order.
    """

    predictors: Mapping[str, PhotoPredictor]
    samples: list[Sample]
    classes: tuple[str, ...]


def open_together(
    models: Mapping[str, RunFolder | ModelFile],
    *,
    split: str,
    data: str | os.PathLike[str] | ImageSet | None,
    registry: Registry,
    observer: Observer,
    data_options: Mapping[str, Any] | None,
    device: str,
    engine: EngineName,
    labels: str | os.PathLike[str] | None = None,
    passes: int = 1,
) -> OpenedModels:
    """Opens models of the same classes with photos that none of several was trained on; see `evaluate_paired`.

    Args:
        models: The models by name.
        split: As in `evaluate_paired`.
        data: As in `evaluate_paired`.
        registry: The plugins.
        observer: Receives what is to be known about models and photos.
        data_options: As in `evaluate_paired`.
        device: As in `evaluate_paired`.
        engine: As in `evaluate_paired`.
        labels: As in `evaluate_paired`.
        passes: How often each photo will be classified, which decides about the engine.

    Raises:
        ZooError: As for `evaluate_paired`.
    """
    # The photos are those of the first run, or of the first model on other data.
    runs = (name for name, model in models.items() if isinstance(model, RunFolder))
    owner = next(iter(models)) if data is not None else next(runs, next(iter(models)))
    predictor, samples = open_with_samples(
        models[owner],
        split=split,
        data=data,
        registry=registry,
        observer=observer,
        data_options=data_options,
        device=device,
        engine=engine,
        labels=labels,
        passes=passes,
    )
    if len(models) > 1:
        samples = _leave_out_trained(samples, models, split, observer)
    opened = {owner: predictor}
    for name, model in models.items():
        if name != owner:
            images = passes * len(samples)
            opened[name] = load_model(model, device=device, registry=registry, engine=engine, images=images)
            report_notes(model, opened[name], observer)
            _check_kind(name, opened[name], owner, predictor)
            _check_classes(name, opened[name].classes, owner, predictor.classes)
    return OpenedModels({name: opened[name] for name in models}, samples, predictor.classes)


def _leave_out_trained(
    samples: list[Sample], models: Mapping[str, RunFolder | ModelFile], split: str, observer: Observer
) -> list[Sample]:
    """Returns the samples without those that a run used before it came to this split."""
    for name, model in models.items():
        if not isinstance(model, RunFolder):
            continue
        photos = model.photos()
        used = {}
        for earlier in SPLITS[SPLITS.index(split) + 1 :]:
            used.update(photos.by_name(earlier))
        kept = [sample for sample in samples if not _is_used(sample, used)]
        if not kept:
            raise DataError(f"{name} was trained on all of these photos.", hint="Pass others with --data.")
        if len(kept) < len(samples):
            text = f"{len(samples) - len(kept)} of {len(samples)} photos are left out: {name} was trained on them."
            observer(Note(text=text, warning=True))
        samples = kept
    return samples


def _is_used(sample: Sample, used: Mapping[str, str]) -> bool:
    """Returns whether a photo is among those with these names and short hashes."""
    if sample.name not in used:
        return False
    try:
        return not used[sample.name] or used[sample.name] == hash_sample(sample)
    except ImageError:
        return False


def _check_kind(name: str, predictor: PhotoPredictor, owner: str, other: PhotoPredictor) -> None:
    if predictor.multi_label != other.multi_label:
        kinds = ("one class for each photo", "any number of labels for each photo")
        raise ConfigError(
            f"{name} predicts {kinds[predictor.multi_label]}, but {owner} predicts {kinds[other.multi_label]}.",
            hint="Only models of the same kind are compared.",
        )


def _check_classes(name: str, classes: Sequence[str], owner: str, others: Sequence[str]) -> None:
    for one, known, two, more in ((name, classes, owner, others), (owner, others, name, classes)):
        if unknown := [each for each in more if each not in known]:
            raise DataError(
                f"{two} has the class '{unknown[0]}', which {one} does not know.",
                hint="Only models with the same classes can be compared.",
            )


def _predict_all(
    predictors: Mapping[str, PhotoPredictor],
    samples: Sequence[Sample],
    classes: Sequence[str],
    split: str,
    observer: Observer,
) -> tuple[dict[str, NDArray[np.float32]], NDArray[Any]]:
    """Returns probabilities ``(N, classes)`` of each model, in the order of `classes`, and labels (`make_targets`)."""
    found: dict[str, NDArray[np.float32]] = {}
    labels: NDArray[Any] | None = None
    for name, predictor in predictors.items():
        rows, readable = predict_samples(predictor, samples, split=split, observer=observer)
        labels = readable if labels is None else labels
        if not np.array_equal(labels, readable):
            raise DataError("Some photos became unreadable between two models.", hint="Evaluate again.")
        found[name] = rows[:, [predictor.classes.index(each) for each in classes]]
    assert labels is not None
    return found, labels


def _compare(predicted: Mapping[str, NDArray[np.int64]], labels: NDArray[np.int64]) -> tuple[PairedDifference, ...]:
    """Returns the differences between the first model and each other."""
    first, *others = predicted
    return tuple(compare_predictions(first, each, (predicted[first], predicted[each]), labels) for each in others)
