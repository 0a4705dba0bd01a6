"""Evaluates a trained run, or an exported file, on labelled photos."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from zoo.data.sources.corrections import correct_labels
from zoo.data.sources.fingerprint import find_changed
from zoo.data.sources.load import load_corrected, load_source, load_splits, report_left_out
from zoo.data.sources.resolve import resolve_data
from zoo.data.targets import make_targets
from zoo.display.progress import choose_observer
from zoo.errors import (
    AmbiguousNameError,
    ConfigError,
    DataError,
    ImageError,
    PredictionError,
    UnknownNameError,
    did_you_mean,
)
from zoo.events import Note, Work
from zoo.inference.open import ModelFile, find_model, load_model
from zoo.plugins.kinds import METRIC
from zoo.plugins.registry import REGISTRY, Registry, load_registry
from zoo.plugins.specs import UNSTORED, ImageSet
from zoo.preprocess import photos_per_batch
from zoo.runs.open import explained_missing_plugin, load_config
from zoo.runs.run import RunFolder
from zoo.utils.arguments import DICT, FLAG, FUNCTION, NAMES, PATH, TEXT, Accepted, accepts
from zoo.utils.text import printable

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from zoo.data.sources.resolve import DataSource
    from zoo.events import Observer
    from zoo.inference.predictor import EngineName, PhotoPredictor
    from zoo.metrics.calibration import Calibration
    from zoo.metrics.classification import Evaluation
    from zoo.metrics.costs import CostDecision
    from zoo.metrics.multi_label import MultiLabelEvaluation
    from zoo.plugins.registry import Choice
    from zoo.plugins.specs import MetricSpec, Sample

SPLITS = ("test", "val", "train")
_LISTED = 10  # classes without photos in a note


@accepts(
    model=PATH | Accepted("a zoo.Run", (RunFolder, ModelFile)),
    split=TEXT,
    device=TEXT,
    observer=FUNCTION | None,
    registry=REGISTRY | None,
    part=TEXT | None,
    engine=TEXT,
    data_options=DICT | None,
    labels=PATH | None,
    slices=FLAG,
    metrics=NAMES,
    metric_options=DICT | None,
)
def evaluate(
    model: RunFolder | ModelFile | str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | ImageSet | None = None,
    split: str = "test",
    device: str = "auto",
    observer: Observer | None = None,
    registry: Registry | None = None,
    part: str | None = None,
    engine: EngineName = "torch",
    data_options: Mapping[str, Any] | None = None,
    labels: str | os.PathLike[str] | None = None,
    slices: bool = False,
    metrics: Sequence[str] = (),
    metric_options: Mapping[str, Any] | None = None,
) -> Evaluation | MultiLabelEvaluation:
    """Evaluates a run on a split of its own data, or a run or an exported file on other data with the same classes.

    Args:
        model: A run or a file, as an object or by its path or name (see `zoo.inference.open.find_model`).
        data: A dataset, a folder, a CSV file or an `ImageSet`; by default the data of the run, with the same splits as
            in training. So is the `ImageSet` that the run was trained with.
        split: ``"test"``, ``"val"`` or ``"train"``. Other data without splits consists of test photos.
        device: As in `FinetuneConfig`.
        observer: Receives progress, and warnings about unreadable photos; by default as in `zoo.finetune`.
        registry: The plugins; by default all that are installed.
        part: The former name of `split`, still accepted.
        engine: What runs a run: ``"torch"``, ``"onnxruntime"``, or ``"auto"`` for the faster one; see `zoo.load`.
        data_options: Options of the dataset `data`; by default, for the data of the run, those of its training.
        labels: A CSV file of path,label: labels that replace those of the data; by default, for the data of the run,
            those of its training.
        slices: Whether to look for photos on which the model is worse: small or dark ones, for example
            (`zoo.metrics.slices.find_slices`).
        metrics: Names of metrics of plugins to add.
        metric_options: Their options; of several metrics with the name before a dot: ``{"fbeta.beta": 2}``.

    Returns:
        The metrics; of a model that decides on any number of labels per photo, a `MultiLabelEvaluation`.

    Raises:
        ConfigError: There is no such split, an option is wrong, or the model is a file and `data` is missing.
        UnknownNameError: No plugin offers a metric.
        PluginError: A metric failed.
        DataError: The data does not have the split, or has a class that the model does not know.
        RunError: There is no such run or file, or its files are broken.
    """
    split, observer = check_split(split if part is None else part), choose_observer(observer)
    registry = registry or load_registry()
    chosen = registry.choose_all(METRIC, metrics, metric_options or {})
    found = model if isinstance(model, RunFolder | ModelFile) else find_model(model, registry=registry)
    predictor, samples = open_with_samples(
        found,
        split=split,
        data=data,
        registry=registry,
        observer=observer,
        data_options=data_options,
        labels=labels,
        device=device,
        engine=engine,
    )
    return evaluate_predictor(predictor, samples, split=split, observer=observer, metrics=chosen, slices=slices)


def open_with_samples(
    model: RunFolder | ModelFile,
    *,
    split: str,
    data: str | os.PathLike[str] | ImageSet | None,
    registry: Registry,
    observer: Observer,
    data_options: Mapping[str, Any] | None,
    labels: str | os.PathLike[str] | None = None,
    device: str,
    engine: EngineName,
    passes: int = 1,
) -> tuple[PhotoPredictor, list[Sample]]:
    """Returns a model, ready to predict, and the photos to evaluate it on, with its labels; see `evaluate`.

    Each photo will be classified `passes` times, which decides about the engine.
    """
    if isinstance(model, RunFolder):
        # Before torch is imported, so that a wrong path or class is reported at once.
        samples = load_samples(
            model,
            split=split,
            data=data,
            registry=registry,
            observer=observer,
            data_options=data_options,
            labels=labels,
        )
        predictor = load_model(model, device=device, registry=registry, engine=engine, images=passes * len(samples))
    else:
        if data is None:
            raise ConfigError(f"{model.path} contains no photos to evaluate on.", hint="Pass some with --data.")
        source = resolve_data(data, registry=registry, options=data_options or {}, labels=labels)
        predictor = load_model(model, device=device)
        samples = _load_other(source, split, _Target.of_predictor(predictor), observer=observer)
    report_notes(model, predictor, observer)
    return predictor, samples


def report_notes(model: RunFolder | ModelFile, predictor: PhotoPredictor, observer: Observer) -> None:
    """Reports what is to be known about the predictions of a model."""
    partly_random = model.record.partly_random if isinstance(model, RunFolder) else ""
    for note in filter(None, (*predictor.notes, partly_random)):
        observer(Note(text=note, warning=True))


def load_samples(
    run: RunFolder,
    *,
    split: str,
    data: str | os.PathLike[str] | ImageSet | None,
    registry: Registry,
    observer: Observer,
    data_options: Mapping[str, Any] | None = None,
    labels: str | os.PathLike[str] | None = None,
) -> list[Sample]:
    """Returns a split of the data of a run, or of other data, with the labels of the run; see `evaluate`."""
    own = data if isinstance(data, ImageSet) and _is_data_of(run, data) else None
    if data is None or own is not None:
        return load_run_splits(run, (split,), registry=registry, observer=observer, data=own, labels=labels)[split]
    if data_options is None:
        config = load_config(run)
        data_options = config.data_options if config.data == data else {}
    source = resolve_data(data, registry=registry, options=data_options, labels=labels)
    return _load_other(source, split, _Target.of_run(run), observer=observer)


def _is_data_of(run: RunFolder, images: ImageSet) -> bool:
    """Returns whether photos include all those that a run was given as an `ImageSet`, by their names."""
    if not str(run.config.get("data")).startswith(UNSTORED):
        return False
    names = {sample.name for samples in (images.train, images.val, images.test) for sample in samples}
    return all(names.issuperset(recorded) for recorded in run.photos().names.values())


def load_run_splits(
    run: RunFolder,
    splits: Sequence[str],
    *,
    registry: Registry,
    observer: Observer,
    data: ImageSet | None = None,
    labels: str | os.PathLike[str] | None = None,
) -> dict[str, list[Sample]]:
    """Loads the data of a run once, and returns several of its splits with the labels of the run.

    Args:
        run: The run.
        splits: Some of `SPLITS`.
        registry: The plugins.
        observer: Receives warnings: leaks of test photos, photos that have changed since training.
        data: The data, for a run that was given an `ImageSet`, which is not stored.
        labels: As in `evaluate`.

    Raises:
        DataError: The data is missing, does not have a split, or has a class that the run does not know.
        RunError: The record of the run is broken.
    """
    config = load_config(run)
    with explained_missing_plugin(run, registry):
        try:
            source = resolve_data(
                data or config.data,
                registry=registry,
                options=config.data_options,
                exclude=config.exclude,
                labels=config.labels if labels is None else labels,
            )
        except AmbiguousNameError:
            raise
        except (DataError, UnknownNameError) as error:  # the name comes from the record, not from the user
            message = f"{error.message} The record of {run.name} names it."
            raise type(error)(message, hint="Pass the location of the data with --data.") from None
    if source.path is not None:  # any folder of this machine, if the record comes from a stranger
        observer(Note(text=f"The photos are read from {source.path.absolute()}, as the record of {run.name} says."))
    try:
        images = load_splits(source, config, observer)
    except DataError:  # of photos that are not needed here, perhaps: of the training split
        if (given := _load_given_splits(source, splits, run)) is None:
            raise
        images = given
    for text in run.leaks if "test" in splits else ():
        observer(Note(text=text, warning=True))
    photos, found = run.photos(), {}
    for split in splits:
        if tuple(sample.name for sample in getattr(images, split)) != photos.names.get(split):
            observer(Note(text=f"The {split} photos are not those that {run.name} was trained with.", warning=True))
        samples = found[split] = _select(images, split, _Target.of_run(run), whole=False)
        if changed := find_changed(samples, photos.by_name(split)):
            text = f"{len(changed)} of {len(samples)} {split} photos have changed since {run.name} was trained"
            observer(Note(text=f"{text}; the first: {printable(changed[0])}.", warning=True))
    return found


def _load_given_splits(source: DataSource, splits: Sequence[str], run: RunFolder) -> ImageSet | None:
    """Returns splits that the data itself has, if their photos are those of a run; otherwise None."""
    images, recorded = correct_labels(load_source(source, known=run.classes), source.corrections), run.photos().names
    same = all(tuple(sample.name for sample in getattr(images, split)) == recorded.get(split) for split in splits)
    return images if same else None


def evaluate_predictor(
    predictor: PhotoPredictor,
    samples: Sequence[Sample],
    *,
    split: str,
    observer: Observer,
    metrics: Sequence[Choice[MetricSpec]] = (),
    slices: bool = False,
) -> Evaluation | MultiLabelEvaluation:
    """Evaluates a predictor on samples.

    Args:
        predictor: The predictor.
        samples: Photos with the labels of the predictor.
        split: The name of the samples in progress events.
        observer: Receives progress, and warnings about unreadable photos.
        metrics: Metrics to add.
        slices: Whether to look for photos on which the predictor is worse.

    Raises:
        ConfigError: Slices are asked for of photos with any number of labels.
        DataError: No photo is readable.
        PluginError: A metric failed.
        PredictionError: The predictor returns NaN or infinity for a photo.
    """
    from zoo.metrics.chosen import check_metrics

    check_metrics(metrics, predictor.classes, multi_label=predictor.multi_label)  # before any photo is read
    if slices and predictor.multi_label:
        raise ConfigError(f"{predictor.name} decides on any number of labels: slices need one class for each photo.")
    rows, read = predict_readable(predictor, samples, split=split, observer=observer)
    labels = make_targets(read, classes=len(predictor.classes), multi_label=predictor.multi_label)
    if predictor.multi_label:
        from zoo.metrics.multi_label import evaluate_labels
        from zoo.metrics.reliability_report import report_reliability

        evaluation = evaluate_labels(rows, labels, predictor.classes, predictor.thresholds)
        return replace(evaluation, reliability=report_reliability(rows, labels, predictor.calibration))
    result = evaluate_rows(rows, labels, predictor.classes, metrics, predictor.decision, predictor.calibration)
    if slices:
        from zoo.inference.slices import evaluate_slices
        from zoo.metrics.costs import decide_classes

        predicted = decide_classes(rows, predictor.classes, predictor.decision)
        result = replace(result, slices=evaluate_slices(predicted, read, observer=observer))
    return result


def evaluate_rows(
    rows: NDArray[np.float32],
    labels: NDArray[Any],
    classes: Sequence[str],
    metrics: Sequence[Choice[MetricSpec]],
    decision: CostDecision | None = None,
    calibration: Calibration | None = None,
) -> Evaluation:
    """Returns the evaluation of probabilities ``(N, classes)`` with labels ``(N,)``; see `evaluate_predictor`.

    Args:
        rows: The probabilities.
        labels: The labels.
        classes: Class names.
        metrics: Metrics to add.
        decision: How the model decides between two classes, if not for the most probable one.
        calibration: That of the model, if it has one.
    """
    from zoo.metrics.chosen import compute_metrics, merge_values
    from zoo.metrics.classification import evaluate_predictions
    from zoo.metrics.reliability_report import report_reliability

    return replace(
        evaluate_predictions(rows, labels, classes, decision),
        metrics=merge_values(compute_metrics(metrics, rows, labels, classes)),
        reliability=report_reliability(rows, labels, calibration),
    )


def predict_samples(
    predictor: PhotoPredictor, samples: Sequence[Sample], *, split: str, observer: Observer
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Returns the probabilities ``(N, classes)`` of all readable samples, and their labels (`make_targets`).

    Arguments and errors are those of `evaluate_predictor`.
    """
    rows, read = predict_readable(predictor, samples, split=split, observer=observer)
    return rows, make_targets(read, classes=len(predictor.classes), multi_label=predictor.multi_label)


def predict_readable(
    predictor: PhotoPredictor, samples: Sequence[Sample], *, split: str, observer: Observer
) -> tuple[NDArray[np.float32], list[Sample]]:
    """Returns the probabilities ``(N, classes)`` of all readable samples, and these samples.

    Arguments and errors are those of `evaluate_predictor`.
    """
    import numpy as np

    from zoo.inference.predictor import name_photo, read_ahead

    rows = np.empty((len(samples), len(predictor.classes)), dtype=np.float32)
    read: list[Sample] = []
    failures: list[ImageError] = []
    for batch in read_ahead(partial(_try_read, predictor), samples, batch=photos_per_batch(predictor.preprocess.size)):
        readable = [(sample, image) for sample, image in batch if not isinstance(image, ImageError)]
        failures += [error for _, error in batch if isinstance(error, ImageError)]
        found = predictor.rows([image for _, image in readable]) if readable else ()
        for (sample, _), row in zip(readable, found, strict=True):
            if isinstance(row, PredictionError):
                raise name_photo(row, sample.name)
            rows[len(read)] = row.probabilities
            read.append(sample)
        observer(Work(what=f"evaluate {split}", done=len(read) + len(failures), total=len(samples)))
    if not read:
        raise DataError(f"None of {len(failures)} photos is readable; the first: {failures[0].message}")
    for failure in failures:
        observer(Note(text=f"Left out: {failure.message}", warning=True))
    return rows[: len(read)], read


def _try_read(predictor: PhotoPredictor, sample: Sample) -> NDArray[np.uint8] | ImageError:
    try:
        return predictor.read(sample.source, name=sample.name)
    except ImageError as error:
        return error


def check_split(split: str) -> str:
    """Returns the name of a split; raises `ConfigError` if there is none of this name."""
    if split in SPLITS:
        return split
    hint = f"{did_you_mean(split, SPLITS)} The splits are {', '.join(SPLITS)}.".strip()
    raise ConfigError(f"There is no split '{split}'.", hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """What photos must fit to be evaluated with a model: its name, its classes, and whether it decides on labels."""

    name: str
    classes: tuple[str, ...]
    multi_label: bool

    @classmethod
    def of_run(cls, run: RunFolder) -> _Target:
        return cls(name=run.name, classes=run.classes, multi_label=run.multi_label)

    @classmethod
    def of_predictor(cls, predictor: PhotoPredictor) -> _Target:
        return cls(name=predictor.name, classes=predictor.classes, multi_label=predictor.multi_label)

    def check(self, images: ImageSet) -> None:
        """Raises `DataError` if the photos do not fit."""
        if unknown := [known for known in images.classes if known not in self.classes]:
            raise DataError(
                f"'{images.name}' has the class '{unknown[0]}', which {self.name} does not know.",
                hint=f"Its classes: {', '.join(self.classes)}.",
            )
        if images.multi_label != self.multi_label:
            kinds = ("one class for each photo", "any number of labels for each photo")
            raise DataError(
                f"'{images.name}' has {kinds[images.multi_label]}, but {self.name} predicts {kinds[self.multi_label]}.",
                hint="Pass data of the same kind.",
            )


def _load_other(source: DataSource, split: str, target: _Target, *, observer: Observer) -> list[Sample]:
    """Returns a split of other data; it needs photos of no more than some of the model's classes."""
    classes = target.classes
    images = load_corrected(source, observer, known=classes, multi_label=target.multi_label)
    report_left_out(images, observer)
    # Folders and tables without splits are test photos; other datasets may have training photos alone.
    samples = _select(images, split, target, whole=source.path is None)
    present = {label for sample in samples for label in sample.labels}
    if absent := [each for label, each in enumerate(classes) if label not in present]:
        listed = ", ".join(map(printable, absent[:_LISTED])) + (", ..." if len(absent) > _LISTED else "")
        observer(
            Note(text=f"'{images.name}' has no {split} photos of {len(absent)} of {len(classes)} classes: {listed}.")
        )
    return samples


def _select(images: ImageSet, split: str, target: _Target, *, whole: bool) -> list[Sample]:
    """Returns the samples of a split with the labels of the model; classes are matched by name, never by position."""
    samples: Sequence[Sample] = getattr(images, split)
    if not samples and whole and split == "test" and not images.val:
        samples = images.train  # all photos are new to the model
    if not samples:
        raise DataError(f"'{images.name}' has no {split} split.", hint="Choose another one with --split.")
    target.check(images)
    label_of = [target.classes.index(known) for known in images.classes]

    def relabel(label: int | tuple[int, ...]) -> int | tuple[int, ...]:
        return label_of[label] if isinstance(label, int) else tuple(sorted(label_of[each] for each in label))

    return [sample._replace(label=relabel(sample.label)) for sample in samples]
