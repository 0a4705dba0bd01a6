"""`Run`: a run folder with what can be done with it. Opens and lists runs for Python code."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, overload

from zoo.display.progress import choose_observer
from zoo.inference.export import export_run
from zoo.plugins.specs.export_targets import PHOTOS
from zoo.runs import open as run_names
from zoo.runs import run as run_folders
from zoo.runs.run import RUNS, RunFolder
from zoo.utils.paths import parse_path

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from pathlib import Path

    from zoo.data.images.photo import Photo
    from zoo.events import Observer
    from zoo.inference.predictor import PhotoPredictor, Prediction
    from zoo.metrics.classification import Evaluation
    from zoo.metrics.multi_label import MultiLabelEvaluation
    from zoo.plugins.registry import Registry
    from zoo.plugins.specs import ImageSet

_LOADED: dict[tuple[Any, ...], PhotoPredictor] = {}  # of the last run that predicted


@dataclass(frozen=True, slots=True)
class Run(RunFolder):
    """A run folder, with what is recorded in it and what can be done with it.

    Attributes:
        registry: The plugins that `predict`, `evaluate` and `export` use; None for those of the environment. It is what
            `zoo.finetune` was called with.
    """

    registry: Registry | None = field(default=None, repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the run without its plugins, which stay in their process."""
        return partial(Run, origin=self.origin), (self.path, self.record)

    @overload
    def predict(self, photo: list[Any] | tuple[Any, ...], *, coverage: float | None = None) -> list[Prediction]: ...
    @overload
    def predict(self, photo: Photo, *, coverage: float | None = None) -> Prediction: ...
    def predict(
        self, photo: Photo | list[Any] | tuple[Any, ...], *, coverage: float | None = None
    ) -> Prediction | list[Prediction]:
        """Classifies a photo, or each of a list of photos, as ``zoo.load(run).predict(photo)`` does.

        The network of the run that was asked last stays in memory. `zoo.load` lets you choose device and engine.

        Args:
            photo: As for `zoo.PhotoPredictor.predict`.
            coverage: If given, each prediction also has a `prediction_set`, which contains the right class with this
                probability: ``0.95``.

        Raises:
            ConfigError: The run has no prediction sets of this coverage.
            RunError: The weights are missing or damaged.
            ImageError: A photo cannot be read.
            PredictionError: The network returns NaN or infinity for a photo.
        """
        return _load_once(self).predict(photo, coverage=coverage)

    def evaluate(
        self,
        data: str | os.PathLike[str] | ImageSet | None = None,
        *,
        split: str = "test",
        labels: str | os.PathLike[str] | None = None,
        slices: bool = False,
        metrics: Sequence[str] = (),
        observer: Observer | None = None,
    ) -> Evaluation | MultiLabelEvaluation:
        """Measures the run on a split of its own data, or on other data, as `zoo.evaluate` does."""
        from zoo.inference.evaluate import evaluate  # finds data, which opening and listing runs does not need

        return evaluate(
            self,
            data=data,
            split=split,
            labels=labels,
            slices=slices,
            metrics=metrics,
            observer=observer,
            registry=self.registry,
        )

    def export(
        self,
        output: str | os.PathLike[str] | None = None,
        *,
        to: str = "onnx",
        verify: bool = True,
        data: str | os.PathLike[str] | None = None,
        photos: int = PHOTOS,
        observer: Observer | None = None,
        **options: Any,
    ) -> Path:
        """Exports the run, and returns the path of what was written.

        Args:
            output: The file or folder to write; by default one in the run folder.
            to: A target: ``"onnx"``, or another one of 'zoo list export-targets'.
            verify: Whether to compare what is written with the run.
            data: Photos to compare on: a dataset, a folder or a CSV file; by default the validation photos of the run.
            photos: How many of them to compare.
            observer: As in `zoo.finetune`.
            **options: Options of the target, which 'zoo info onnx' lists: ``precision="int8"``.

        Raises:
            UnknownNameError: No plugin offers the target.
            ConfigError: An option is unknown or invalid.
            ExportError: The run cannot be exported, or the file does not predict what the run predicts.
        """
        return export_run(
            self,
            to,
            output=None if output is None else parse_path(output),
            options=options,
            verify=verify,
            data=None if data is None else str(data),
            photos=photos,
            observer=choose_observer(observer),
            registry=self.registry,
        ).path


def open_run(reference: str | os.PathLike[str], *, runs: str | os.PathLike[str] = RUNS) -> Run:
    """Returns a run.

    Args:
        reference: The path of the run folder, the name of a run below `runs`, a tag (``hotdog@3``), or a run on a hub
            (``hf:anna/hotdog``), of which a copy is opened.
        runs: The folder of the runs.

    Raises:
        RunError: There is no such run, or its record cannot be read; the hint lists close matches.
        IntegrityError: The run of the tag, or the copy, was changed.
    """
    return _to_run(run_names.open_run(reference, runs=runs))


def list_runs(runs: str | os.PathLike[str] = RUNS) -> list[Run]:
    """Returns the runs in a folder, oldest first, without those whose record cannot be read.

    In a listing, values of the wrong type are replaced by their defaults; opening the run by name reports them.
    """
    return [_to_run(folder) for folder in run_folders.list_runs(runs)]


def _to_run(folder: RunFolder) -> Run:
    return Run(folder.path, folder.record, origin=folder.origin)


def _load_once(run: Run) -> PhotoPredictor:
    """Returns the predictor of a run, and keeps it until that of another one is asked for."""
    from zoo.inference.run_predictor import load  # imports torch

    info = run.weights_path.stat() if run.weights_path.is_file() else None
    key = (run.path.resolve(), info and (info.st_mtime_ns, info.st_size), run.record.created)
    if key not in _LOADED:
        _LOADED.clear()
        _LOADED[key] = load(run, registry=run.registry)
    return _LOADED[key]
