"""Completes the chosen run of a search: looks at the test photos, once, and moves the run to the others."""

from __future__ import annotations

import dataclasses
import shutil
from typing import TYPE_CHECKING

from zoo.errors import ImageError
from zoo.inference.evaluate import evaluate_rows, open_with_samples, predict_samples
from zoo.inference.run import Run
from zoo.metrics.costs import decide_classes
from zoo.plugins.kinds import METRIC
from zoo.plugins.specs import ImageSet
from zoo.report import find_mistakes, write_pictures, write_reliability
from zoo.runs.open import load_config, open_run
from zoo.runs.record import write_record
from zoo.runs.run import create_run
from zoo.training.best.state import TRIALS
from zoo.training.record import summarise
from zoo.training.resume import seal

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.events import Observer
    from zoo.inference.predictor import PhotoPredictor
    from zoo.plugins.registry import Registry
    from zoo.plugins.specs import Sample
    from zoo.runs.run import RunFolder
    from zoo.training.best.attempts import Outcome
    from zoo.training.best.state import SearchState


def complete(
    state: SearchState, chosen: Outcome, *, has_test: bool, keep: bool, observer: Observer, registry: Registry
) -> Run:
    """Returns the chosen run, evaluated on the test photos and moved to the other runs. Deletes the other runs.

    The run is moved first: from then on there is a whole run, whatever happens. It can be called again after it was
    interrupted.

    Args:
        state: The search; it is finished afterwards.
        chosen: The outcome that was chosen.
        has_test: Whether the data has test photos.
        keep: Whether to keep the other runs.
        observer: Receives progress.
        registry: The plugins.

    Raises:
        ZooError: The photos or the run cannot be read, or the disk is full.
    """
    run = open_run(_move(state, chosen))
    if has_test and "test" not in run.results:
        _evaluate(run, state, observer=observer, registry=registry)
    seal(run.path)
    state.finished = True
    state.save()
    if not keep:
        shutil.rmtree(state.folder / TRIALS, ignore_errors=True)
    return Run(run.path, open_run(run.path).record, registry)


def _move(state: SearchState, chosen: Outcome) -> Path:
    """Moves the run folder of the chosen outcome to the other runs, and returns its path."""
    trial = state.find_run(chosen)
    if not state.run:
        state.run = create_run(state.folder.parent, stem=trial.name.rpartition("-")[0]).name
        state.save()
    folder = state.folder.parent / state.run
    if trial.exists():
        if folder.exists():
            folder.rmdir()  # empty: it only reserves the name
        trial.rename(folder)
    return folder


def _evaluate(run: RunFolder, state: SearchState, *, observer: Observer, registry: Registry) -> None:
    """Evaluates a run on its test photos, and writes its pictures and its results."""
    config = load_config(run, data=state.data)
    metrics = registry.choose_all(METRIC, config.metric, config.metric_options)
    predictor, samples = open_with_samples(
        run,
        split="test",
        data=state.data if isinstance(state.data, ImageSet) else None,
        registry=registry,
        observer=observer,
        data_options=None,
        device=config.device,
        engine="auto",
    )
    rows, labels = predict_samples(predictor, samples, split="test", observer=observer)
    evaluation = evaluate_rows(rows, labels, run.classes, metrics, run.decision, run.calibration)
    readable = samples if len(samples) == len(labels) else [each for each in samples if _is_readable(predictor, each)]
    mistakes = find_mistakes(rows, readable, decide_classes(rows, run.classes, run.decision).tolist())
    write_pictures(run.path, rows=run.metrics(), evaluation=evaluation, mistakes=mistakes, split="test")
    write_reliability(run.path / "reliability.png", rows, labels, run.calibration, title=f"{run.path.name}, test")
    test = {"test": summarise(evaluation), "search": state.folder.name}
    write_record(run.path, dataclasses.replace(run.record, results={**run.results, **test}))


def _is_readable(predictor: PhotoPredictor, sample: Sample) -> bool:
    try:
        predictor.read(sample.source, name=sample.name)
    except ImageError:
        return False
    return True
