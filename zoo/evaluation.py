"""Scores a trained run on labelled photos."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.data.source import load_images
from zoo.errors import DataError
from zoo.events import Note, Work, ignore
from zoo.finetuning.assembly import config_of, find_images
from zoo.plugins import load_registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.events import Observer
    from zoo.metrics import Evaluation
    from zoo.registry import Registry
    from zoo.run import Run
    from zoo.specs import ImageSet, Sample

_BATCH = 64


def evaluate(
    run: Run,
    *,
    data: str | None = None,
    part: str = "test",
    device: str = "auto",
    observer: Observer = ignore,
    registry: Registry | None = None,
) -> Evaluation:
    """Evaluates a run on a part of its own data, or of other data with the same classes.

    Args:
        run: A run with weights.
        data: A dataset's name, a folder or a CSV; by default what the run was trained on, split as it was then.
        part: ``"test"``, ``"val"`` or ``"train"``. Other data without parts is evaluated as a whole.
        device: As in `FinetuneConfig`.
        observer: Told of progress and of unreadable photos.
        registry: Of plugins; found in the environment by default.

    Raises:
        DataError: The data has no such part, or a class that the run does not know.
        RunError: The run's files are broken.
    """
    registry = registry or load_registry()
    samples = _samples(run, data, part, registry, observer)
    # Only now: a wrong path is told without waiting for torch.
    from zoo.data.loader import EvalLoader
    from zoo.data.store import PhotoStore, default_budget, for_evaluation
    from zoo.engine.evaluate import run_over
    from zoo.metrics import evaluate_predictions
    from zoo.predictor import load

    predictor = load(run, device=device, registry=registry)
    store = PhotoStore(samples, prepare=for_evaluation(run.preprocess), budget=default_budget(), workers=_threads())
    for failure in store.fill(lambda done, total: observer(Work(what=f"decode {part}", done=done, total=total))):
        observer(Note(text=f"Left out: {failure.message}", warning=True))
    batches = EvalLoader(store, preprocess=run.preprocess, batch_size=_BATCH, device=predictor.precision.device)
    outputs = run_over(predictor.classifier, batches, predictor.precision)
    probabilities = predictor.classifier.head.probabilities(outputs.logits)
    return evaluate_predictions(probabilities.numpy(), outputs.labels.numpy(), run.classes)


def _samples(run: Run, data: str | None, part: str, registry: Registry, observer: Observer) -> list[Sample]:
    if data is None:
        images = find_images(config_of(run), registry, observer)
        if [sample.name for sample in getattr(images, part)] != run.split.get(part):
            observer(Note(text=f"The {part} photos are no longer those that {run.name} was made with.", warning=True))
    else:
        images = load_images(data, registry=registry, options={})
    samples: Sequence[Sample] = getattr(images, part)
    if not samples and data is not None and part == "test" and not images.val:
        samples = images.train  # class folders alone: other data, all of it unseen
    if not samples:
        raise DataError(f"'{images.name}' has no {part} part.", hint="Choose another with --part.")
    return _relabelled(samples, images, run)


def _relabelled(samples: Sequence[Sample], images: ImageSet, run: Run) -> list[Sample]:
    """Gives samples the labels of the run: classes are matched by name, never by position."""
    if unknown := [name for name in images.classes if name not in run.classes]:
        raise DataError(
            f"'{images.name}' has the class '{unknown[0]}', which {run.name} does not know.",
            hint=f"Its classes: {', '.join(run.classes)}.",
        )
    label_of = [run.classes.index(name) for name in images.classes]
    return [sample._replace(label=label_of[sample.label]) for sample in samples]


def _threads() -> int:
    import torch

    return max(1, torch.get_num_threads())
