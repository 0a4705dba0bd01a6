"""Scores a trained run, or an exported file, on labelled photos."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from zoo.data.sources.load import load_source, load_splits
from zoo.data.sources.resolve import resolve_data
from zoo.errors import ConfigError, DataError, ImageError
from zoo.events import Note, Work, ignore
from zoo.inference.open import load_model
from zoo.plugins.registry import load_registry
from zoo.runs.open import config_of
from zoo.runs.run import Run
from zoo.utils.machine import usable_cpus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    import numpy as np
    from numpy.typing import NDArray

    from zoo.events import Observer
    from zoo.inference.open import ModelFile
    from zoo.inference.predictor import PhotoPredictor
    from zoo.metrics.classification import Evaluation
    from zoo.plugins.registry import Registry
    from zoo.plugins.specs import ImageSet, Sample

_BATCH = 64


def evaluate(
    model: Run | ModelFile,
    *,
    data: str | None = None,
    part: str = "test",
    device: str = "auto",
    observer: Observer = ignore,
    registry: Registry | None = None,
) -> Evaluation:
    """Evaluates a run on a part of its own data, or a run or an exported file on other data with the same classes.

    Args:
        model: A run with weights, or a file that `zoo.inference.open.find_model` found.
        data: A dataset's name, a folder or a CSV; by default what the run was trained on, split as it was then.
        part: ``"test"``, ``"val"`` or ``"train"``. Other data without parts is evaluated as a whole.
        device: As in `FinetuneConfig`.
        observer: Told of progress and of unreadable photos.
        registry: Of plugins; found in the environment by default.

    Raises:
        ConfigError: A file is to be evaluated, and no data is named.
        DataError: The data has no such part, or a class that the model does not know.
        RunError: The run's files are broken.
    """
    registry = registry or load_registry()
    if isinstance(model, Run):
        # Before torch is waited for: a wrong path or class is told at once.
        samples = find_samples(model, part=part, data=data, registry=registry, observer=observer)
        predictor = load_model(model, device=device, registry=registry)
    else:
        if data is None:
            raise ConfigError(
                f"{model.path} has no photos of its own to be evaluated on.", hint="Name some with --data."
            )
        images = load_source(resolve_data(data, registry=registry, options={}))
        predictor = load_model(model, device=device)
        samples = _samples(images, part, other=True, classes=predictor.classes, name=predictor.name)
    for note in predictor.notes:
        observer(Note(text=note, warning=True))
    return score(predictor, samples, part=part, observer=observer)


def find_samples(run: Run, *, part: str, data: str | None, registry: Registry, observer: Observer) -> list[Sample]:
    """Returns a split of the run's data, or of other data, with the run's labels; arguments as in `evaluate`."""
    if data is None:
        return find_splits(run, (part,), registry=registry, observer=observer)[part]
    images = load_source(resolve_data(data, registry=registry, options={}))
    return _samples(images, part, other=True, classes=run.classes, name=run.name)


def find_splits(run: Run, splits: Sequence[str], *, registry: Registry, observer: Observer) -> dict[str, list[Sample]]:
    """Loads the run's data once, and returns several of its splits with the run's labels; raises as `evaluate`."""
    config = config_of(run)
    try:
        source = resolve_data(config.data, registry=registry, options=config.data_options, exclude=config.exclude)
    except DataError as error:  # nobody passed this path
        message = f"{error.message} The record of {run.name} names it."
        raise DataError(message, hint="Pass the location of the data with --data.") from None
    if source.path is not None:  # any of this machine, if the record is a stranger's
        observer(Note(text=f"The photos are read from {source.path.absolute()}, as the record of {run.name} says."))
    images = load_splits(source, config, observer)
    for text in run.leaks if "test" in splits else ():
        observer(Note(text=text, warning=True))
    names = run.photos().names
    for split in splits:
        if tuple(sample.name for sample in getattr(images, split)) != names.get(split):
            observer(Note(text=f"The {split} photos are no longer those that {run.name} was made with.", warning=True))
    return {split: _samples(images, split, other=False, classes=run.classes, name=run.name) for split in splits}


def score(predictor: PhotoPredictor, samples: Sequence[Sample], *, part: str, observer: Observer) -> Evaluation:
    """Evaluates what predicts, on samples that have its own labels; `part` is what progress calls them.

    Raises:
        DataError: No photo is readable.
    """
    from zoo.metrics.classification import evaluate_predictions

    rows, labels, failures = [], [], []
    with ThreadPoolExecutor(usable_cpus()) as pool:
        for outcomes in _read_ahead(predictor, samples, pool):
            readable = [(sample, image) for sample, image in outcomes if not isinstance(image, ImageError)]
            failures += [error for _, error in outcomes if isinstance(error, ImageError)]
            labels += [sample.label for sample, _ in readable]
            rows += list(predictor.probabilities([image for _, image in readable]) if readable else ())
            observer(Work(what=f"score {part}", done=len(labels) + len(failures), total=len(samples)))
    if not labels:
        raise DataError(f"None of {len(failures)} photos is readable; the first: {failures[0].message}")
    for failure in failures:
        observer(Note(text=f"Left out: {failure.message}", warning=True))
    return evaluate_predictions(rows, labels, predictor.classes)


def _read_ahead(
    predictor: PhotoPredictor, samples: Sequence[Sample], pool: ThreadPoolExecutor
) -> Iterator[list[tuple[Sample, NDArray[np.uint8] | ImageError]]]:
    """Yields batches of samples with what was read of each; the next batch is being read meanwhile."""
    waiting: deque[list[tuple[Sample, Future[Any]]]] = deque()
    for start in range(0, len(samples), _BATCH):
        batch = samples[start : start + _BATCH]
        waiting.append([(sample, pool.submit(_attempt, predictor, sample)) for sample in batch])
        if len(waiting) > 1:
            yield [(sample, future.result()) for sample, future in waiting.popleft()]
    for last in waiting:
        yield [(sample, future.result()) for sample, future in last]


def _attempt(predictor: PhotoPredictor, sample: Sample) -> NDArray[np.uint8] | ImageError:
    try:
        return predictor.read(sample.source, name=sample.name)
    except ImageError as error:
        return error


def _samples(images: ImageSet, part: str, *, other: bool, classes: Sequence[str], name: str) -> list[Sample]:
    """Returns a part with the labels of the model: classes are matched by name, never by position."""
    samples: Sequence[Sample] = getattr(images, part)
    if not samples and other and part == "test" and not images.val:
        samples = images.train  # class folders alone: other data, all of it unseen
    if not samples:
        raise DataError(f"'{images.name}' has no {part} part.", hint="Choose another with --part.")
    if unknown := [known for known in images.classes if known not in classes]:
        raise DataError(
            f"'{images.name}' has the class '{unknown[0]}', which {name} does not know.",
            hint=f"Its classes: {', '.join(classes)}.",
        )
    label_of = [list(classes).index(known) for known in images.classes]
    return [sample._replace(label=label_of[sample.label]) for sample in samples]
