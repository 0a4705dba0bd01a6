"""Cross-validation: trains once for each fold, without it, and measures each photo by the run that never saw it."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from zoo.config import FinetuneConfig
from zoo.data.sources.load import load_whole, report_left_out
from zoo.data.sources.splits import assign_folds
from zoo.display.progress import choose_observer
from zoo.errors import ConfigError, RunError
from zoo.events import CrossValidated, Note
from zoo.inference.run import Run
from zoo.plugins.registry import REGISTRY, Registry, load_registry
from zoo.plugins.specs import ImageSet
from zoo.recipes import located_options
from zoo.runs.cross_validation import (
    CrossValidationFolder,
    CrossValidationRecord,
    open_cross_validation,
    write_folds,
)
from zoo.runs.lock import locked_folder
from zoo.runs.predictions import pool_predictions, read_predictions, write_predictions
from zoo.runs.run import PREDICTIONS, RUNS, RunFolder, create_run, is_run, read_run
from zoo.training.distributed.process_group import ProcessGroup
from zoo.training.finetune import make_config_of, resume, train_config
from zoo.training.fold_results import describe_results, evaluate_folds, final_command, write_fold_pictures
from zoo.training.request import resolve_names, suggested_offline_command
from zoo.training.resume import is_sealed
from zoo.utils.arguments import FLAG, FUNCTION, PATH, TEXT, WHOLE_NUMBER, Accepted, accepts
from zoo.utils.markup import block, line, table
from zoo.utils.paths import parse_path

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from zoo.events import Observer
    from zoo.metrics.classification import Evaluation
    from zoo.metrics.multi_label import MultiLabelEvaluation
    from zoo.training.request import ResolvedNames

_MAX_FOLDS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossValidation:
    """The result of a cross-validation.

    Attributes:
        path: The folder with the runs, ``folds.json``, ``predictions.csv`` and the pictures.
        runs: The run of each fold; its test split is the fold.
        evaluation: The metrics of all photos, each predicted by the run that held it out. With groups, the interval of
            the accuracy takes into account that photos of a group are alike. With several labels per photo, those of
            all figures do; labels are decided at the thresholds of the run that held the photo out.
        final_config: The settings of the final model, which is trained on all photos: ``zoo.finetune(final_config)``.
    """

    path: Path
    runs: tuple[Run, ...]
    evaluation: Evaluation | MultiLabelEvaluation
    final_config: FinetuneConfig

    @property
    def accuracies(self) -> tuple[float, ...]:
        """The accuracy on each fold, 0 to 1; with several labels per photo, the share with all labels right."""
        key = "exact_match" if self.runs[0].multi_label else "accuracy"
        return tuple(float(run.results["test"][key]) for run in self.runs)

    def _repr_html_(self) -> str:
        rows = [
            (number, f"{100 * accuracy:.1f} %", run.results["test"]["count"])
            for number, (accuracy, run) in enumerate(zip(self.accuracies, self.runs, strict=True), start=1)
        ]
        name = "exact match" if self.runs[0].multi_label else "accuracy"
        shown = table(("fold", name, "photos"), rows, right=(0, 1, 2))
        final = "zoo.finetune(result.final_config) trains the final model on all photos."
        return block(self.evaluation._repr_html_(), shown, line(f"{self.path} has the runs. {final}"))


@accepts(
    backbone=TEXT | Accepted("a zoo.FinetuneConfig", (FinetuneConfig,)) | None,
    folds=WHOLE_NUMBER,
    recipe=PATH,
    runs=PATH,
    pictures=FLAG,
    observer=FUNCTION | None,
    registry=REGISTRY | None,
)
def cross_validate(
    backbone: str | FinetuneConfig | None = None,
    *,
    data: str | os.PathLike[str] | ImageSet | None = None,
    folds: int = 5,
    recipe: str | os.PathLike[str] = "default",
    runs: str | os.PathLike[str] = RUNS,
    pictures: bool = True,
    observer: Observer | None = None,
    registry: Registry | None = None,
    **values: Any,
) -> CrossValidation:
    """Fine-tunes once for each fold of the training photos, and evaluates every photo with the run that held it out.

    The folds have the same share of each class, and keep groups whole. A test split that the data has is in no fold and
    is not looked at. No model is trained on all photos: `CrossValidation.final_config` is for that.

    Args:
        backbone: As in `zoo.finetune`.
        data: As in `zoo.finetune`.
        folds: The number of folds, 2 to 100.
        recipe: As in `zoo.finetune`.
        runs: The folder in which the folder of the cross-validation is created.
        pictures: As in `zoo.finetune`; and whether to write those of all folds together.
        observer: As in `zoo.finetune`.
        registry: As in `zoo.finetune`.
        **values: As in `zoo.finetune`.

    Raises:
        DataError: There are fewer groups than folds, or a class is too small.
        ZooError: As `zoo.finetune`; nothing already done is lost, and `resume_cross_validation` continues.
    """
    started, observer, plugins = time.perf_counter(), choose_observer(observer), registry or load_registry()
    config = make_config_of(backbone, data, recipe, values, plugins)
    _check(config, folds)
    with suggested_offline_command(config, plugins), located_options(config.recipe):
        names = resolve_names(config, registry=plugins, runs=parse_path(runs))
    # What the names mean now, for all folds.
    config = dataclasses.replace(config, backbone=names.config.backbone, weights=names.config.weights)
    photos = _Photos(names, config, folds, observer)
    offers = names.offers
    stem = f"{offers.backbone.spec.name}-{offers.head.spec.name}-{photos.images.name}-{folds}fold"
    folder = create_run(parse_path(runs), stem=stem)
    record = CrossValidationRecord(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        folds=folds,
        data=photos.images.name,
        config=config.to_dict(),
    )
    write_folds(folder, record)
    return _Training(
        CrossValidationFolder(folder, record), config, photos, parse_path(runs), pictures, observer, registry, started
    ).finish()


@accepts(
    reference=PATH,
    data=Accepted("the zoo.ImageSet of the cross-validation", (ImageSet,)) | None,
    runs=PATH,
    anyway=FLAG,
    pictures=FLAG,
    observer=FUNCTION | None,
    registry=REGISTRY | None,
)
def resume_cross_validation(
    reference: str | os.PathLike[str],
    *,
    data: ImageSet | None = None,
    runs: str | os.PathLike[str] = RUNS,
    anyway: bool = False,
    pictures: bool = True,
    observer: Observer | None = None,
    registry: Registry | None = None,
) -> CrossValidation:
    """Resumes a cross-validation that was stopped or killed: in the middle of a fold, as `zoo.resume` does.

    Args:
        reference: Its folder, or its name below `runs`.
        data: The photos, if it was given an `ImageSet`, which is not stored.
        runs: The folder in which it is looked up by name.
        anyway: As in `zoo.resume`, for the run of the fold.
        pictures: As in `cross_validate`.
        observer: As in `zoo.finetune`.
        registry: As in `zoo.finetune`.

    Raises:
        RunError: There is none, it is finished, another process trains it, or the photos are not those of the folds
            that are finished.
        ZooError: As `zoo.resume`.
    """
    started, observer, plugins = time.perf_counter(), choose_observer(observer), registry or load_registry()
    found = open_cross_validation(reference, runs=runs)
    if found.finished:
        raise RunError(f"The cross-validation {found.path} is finished.", hint=f"{found.path} has its results.")
    config = _load_config(found, data)
    names = resolve_names(config, registry=plugins, runs=parse_path(runs))
    photos = _Photos(names, config, found.record.folds, observer)
    return _Training(found, config, photos, parse_path(runs), pictures, observer, registry, started).finish(
        data=data, anyway=anyway
    )


def _check(config: FinetuneConfig, folds: int) -> None:
    if not 2 <= folds <= _MAX_FOLDS:
        raise ConfigError(f"cross_validate: argument 'folds' is {folds}.", hint=f"Pass 2 to {_MAX_FOLDS}.")
    if config.fold is not None:
        raise ConfigError(
            f"The configuration holds out the fold {config.fold}, but a cross-validation trains all folds.",
            hint="Leave out the option 'fold'.",
        )
    if config.devices > 1 or not ProcessGroup.from_environment().is_single:
        raise ConfigError(
            "A cross-validation runs in a single process.",
            hint="To use several processes, start the run of each fold with 'zoo finetune --fold 1/5 --devices'.",
        )


def _load_config(found: CrossValidationFolder, data: ImageSet | None) -> FinetuneConfig:
    try:
        return FinetuneConfig(**{**found.record.config, **({} if data is None else {"data": data})})
    except (TypeError, ConfigError) as error:
        raise RunError(f"{found.path}: 'config' in folds.json is not readable: {error}") from error


class _Photos:
    """The photos of a cross-validation, and which fold each is in.

    Attributes:
        images: The dataset, in the splits that it has.
        fold_of: The number of the fold by the name of the photo.
        left_out: The number of training photos that are in no fold, because no other group has their class.
    """

    def __init__(self, names: ResolvedNames, config: FinetuneConfig, folds: int, observer: Observer) -> None:
        images = load_whole(names.source, config, observer)
        report_left_out(images, observer)
        self.images = images
        self.fold_of = assign_folds(images, folds, seed=config.seed)
        self.left_out = len(images.train) - len(self.fold_of)
        for name in names.source.exclusions:
            self.fold_of.pop(name, None)
        self._used = {sample.name for sample in (*images.train, *images.val)} - names.source.exclusions.keys()
        self._limited = config.limit is not None
        if images.test:
            text = f"The test split of the data ({len(images.test)} photos) is in no fold, and is not looked at."
            observer(Note(text=text))

    def check(self, run: RunFolder, number: int) -> None:
        """Checks that a run has held out its fold, and used the other photos.

        Raises:
            RunError: The data has changed since.
        """
        expected = {name for name, fold in self.fold_of.items() if fold == number}
        names = run.photos().names
        used = {name for each in names.values() for name in each}
        same = used <= self._used if self._limited else used == self._used
        if not same or set(names.get("test", ())) != expected:
            raise RunError(
                f"The photos of {run.path} are not those of fold {number} now: the data has changed since.",
                hint="Undo the changes, or start a new cross-validation.",
            )


@dataclass(frozen=True, slots=True)
class _Training:
    """The training of the folds that are not finished."""

    folder: CrossValidationFolder
    config: FinetuneConfig
    photos: _Photos
    runs: Path
    pictures: bool
    observer: Observer
    registry: Registry | None
    started: float

    def finish(self, *, data: ImageSet | None = None, anyway: bool = False) -> CrossValidation:
        """Trains the folds that are missing, and completes the folder.

        Args:
            data: As in `resume_cross_validation`.
            anyway: As in `resume_cross_validation`.
        """
        path, folds = self.folder.path, self.folder.record.folds
        with locked_folder(path):
            for run in self.folder.runs():
                self.photos.check(run, _number_of(run))
            runs = [self._train(number, data=data, anyway=anyway) for number in range(1, folds + 1)]
            _check_same(runs, self.observer)
            evaluation, results = self._evaluate(runs)
            record = dataclasses.replace(self.folder.record, status="finished", results=results)
            write_folds(path, record)
        final = self._final_config()
        self.observer(
            CrossValidated(path=str(path), results=results, command=final_command(self.folder.fold(1), final))
        )
        own = tuple(Run(run.path, run.record, self.registry) for run in runs)
        return CrossValidation(path=path, runs=own, evaluation=evaluation, final_config=final)

    def _train(self, number: int, *, data: ImageSet | None, anyway: bool) -> RunFolder:
        """Returns the finished run of a fold: as it is, resumed, or trained now."""
        folder, folds = self.folder.fold(number), self.folder.record.folds
        if is_run(folder):
            run = read_run(folder)
            if run.finished and is_sealed(folder):
                return run
            self.observer(Note(text=f"Fold {number} of {folds} is resumed."))
            return resume(
                run,
                data=data,
                runs=self.runs,
                anyway=anyway,
                pictures=self.pictures,
                observer=self.observer,
                registry=self.registry,
            )
        self.observer(Note(text=f"Fold {number} of {folds}."))
        folder.mkdir(exist_ok=True)
        return train_config(
            dataclasses.replace(self.config, fold=f"{number}/{folds}"),
            runs=self.runs,
            pictures=self.pictures,
            observer=self.observer,
            registry=self.registry or load_registry(),
            group=self.folder.name,
            folder=folder,
        )

    def _evaluate(self, runs: Sequence[RunFolder]) -> tuple[Evaluation | MultiLabelEvaluation, dict[str, Any]]:
        """Returns the evaluation of all folds together, and what the record contains of it; writes both as files."""
        classes, multi_label = runs[0].classes, self.photos.images.multi_label
        pooled = pool_predictions(
            [read_predictions(run.path / PREDICTIONS, classes, multi_label=multi_label) for run in runs]
        )
        evaluation = evaluate_folds(pooled, classes, self.config, self.registry or load_registry(), runs)
        write_predictions(self.folder.path / PREDICTIONS, pooled, classes)
        if self.pictures:
            by_name = {sample.name: sample for sample in self.photos.images.train}
            write_fold_pictures(self.folder.path, pooled, evaluation, [by_name[name] for name in pooled.names])
        results = describe_results(
            evaluation, runs, groups=pooled.groups, left_out=self.photos.left_out, seconds=_seconds(runs)
        )
        return evaluation, results

    def _final_config(self) -> FinetuneConfig:
        """Returns the settings of the final model; no photo is held out for a test but those of the data."""
        given = bool(self.photos.images.test or self.photos.images.val)
        return self.config if given else dataclasses.replace(self.config, test_fraction=0.0)


def _number_of(run: RunFolder) -> int:
    return int(run.path.name.rpartition("-")[2])


def _seconds(runs: Sequence[RunFolder]) -> float:
    return sum(float(run.results["seconds"]) for run in runs)


def _check_same(runs: Sequence[RunFolder], observer: Observer) -> None:
    """Checks that the runs were trained on the same photos, and warns if their code differs.

    Raises:
        RunError: The content or the label of a photo changed between two folds.
    """
    first, hashes = runs[0], _hashes(runs[0])
    for run in runs[1:]:
        others = _hashes(run)
        if changed := sorted(name for name in hashes.keys() & others.keys() if hashes[name] != others[name]):
            raise RunError(
                f"{len(changed)} photos changed between {first.name} and {run.name}; the first: {changed[0]}.",
                hint="Undo the changes, delete the folders of the folds that were trained with them, and resume.",
            )
        for what in ("packages", "plugins", "sources"):
            if getattr(first.record, what) != getattr(run.record, what):
                text = f"{run.name} was trained with other {what} than {first.name}: the folds are not comparable."
                observer(Note(text=text, warning=True))


def _hashes(run: RunFolder) -> Mapping[str, str]:
    photos = run.photos()
    return {name: digest for split in photos.names for name, digest in photos.by_name(split).items()}
