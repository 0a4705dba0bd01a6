"""`stress`: measures models on photos that are changed in known ways, within a time, and keeps what was measured."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data.targets import single_label
from zoo.display.formatting import format_percent
from zoo.display.progress import choose_observer
from zoo.errors import ConfigError, DataError, RunError
from zoo.events import Note
from zoo.inference.evaluate import check_split
from zoo.inference.open import ModelFile
from zoo.inference.paired import OpenedModels, find_models, open_together
from zoo.inference.stress.kinds import check_kinds, count_strengths, make_kinds
from zoo.inference.stress.measure import Kind, Subject, measure_all
from zoo.inference.stress.photos import stratified_order
from zoo.inference.stress.requirements import parse_requirements
from zoo.inference.stress.results import MeasuredKind, ModelResult, compare_kinds, summarise_model
from zoo.inference.stress.store import MISSING, find_folder, open_folder
from zoo.plugins.registry import REGISTRY, load_registry
from zoo.runs.run import RUNS, RunFolder
from zoo.utils.arguments import DICT, FUNCTION, LIST, NAMES, NUMBER, PATH, TEXT, WHOLE_NUMBER, Accepted, accepts
from zoo.utils.csv_rows import CsvWriter
from zoo.utils.files import atomic_write
from zoo.utils.markup import bar, block, heading, table
from zoo.utils.paths import parse_path
from zoo.utils.text import printable

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from numpy.typing import NDArray

    from zoo.events import Observer
    from zoo.inference.predictor import EngineName
    from zoo.inference.stress.store import Answers, StressFolder
    from zoo.plugins.registry import Registry
    from zoo.plugins.specs import ImageSet, Sample

    Model = RunFolder | ModelFile | str | os.PathLike[str]

MINUTES = 10.0
_PASSES = 80  # how often a photo is classified, about
_FORMAT = 1  # of the folder and of the changes: another number means that answers are not comparable
_MODEL = PATH | LIST | Accepted("a zoo.Run", (RunFolder, ModelFile))


@dataclass(frozen=True, slots=True, kw_only=True)
class StressReport:
    """The result of a stress test.

    Attributes:
        models: The figures of each model, in the order in which they were passed.
        differences: For each model but the first, the differences to the first by kind, and ``mean``.
        failures: A sentence for each requirement that a model fails.
        folder: Where the results and the pictures are.
        complete: Whether all photos were measured under all kinds. If not, the same call goes on.
        photos: Number of photos that there are.
    """

    models: tuple[ModelResult, ...]
    differences: Mapping[str, Mapping[str, Any]]
    failures: tuple[str, ...]
    folder: Path
    complete: bool
    photos: int

    def _repr_html_(self) -> str:
        return block(*(part for model in self.models for part in _show(model)))

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return {
            "models": [model.to_dict() for model in self.models],
            "differences": {name: dict(each) for name, each in self.differences.items()},
            "failures": list(self.failures),
            "folder": str(self.folder),
            "complete": self.complete,
            "photos": self.photos,
        }


def _show(model: ModelResult) -> tuple[str, str]:
    """Returns what a notebook shows of a model."""
    figures = [("unchanged", model.clean, None), *((kind.name, kind.mean.accuracy, kind) for kind in model.kinds)]
    rows = [
        (name, bar(share), format_percent(share), "" if kind is None else f"{100 * kind.mean.difference:+.1f}")
        for name, share, kind in figures
    ]
    return heading(model.name, f"{model.count} photos"), table(("change", "", "accuracy", "points"), rows, right=(2, 3))


@accepts(
    models=_MODEL,
    split=TEXT,
    kinds=NAMES,
    require=NAMES,
    photos=WHOLE_NUMBER | None,
    minutes=NUMBER | None,
    seed=WHOLE_NUMBER,
    device=TEXT,
    observer=FUNCTION | None,
    registry=REGISTRY | None,
    engine=TEXT,
    data_options=DICT | None,
    output=PATH | None,
    runs=PATH,
)
def stress(
    models: Model | Sequence[Model],
    *,
    data: str | os.PathLike[str] | ImageSet | None = None,
    split: str = "test",
    kinds: Sequence[str] = (),
    require: Sequence[str] = (),
    photos: int | None = None,
    minutes: float | None = MINUTES,
    seed: int = 0,
    device: str = "auto",
    observer: Observer | None = None,
    registry: Registry | None = None,
    engine: EngineName = "auto",
    data_options: Mapping[str, Any] | None = None,
    output: str | os.PathLike[str] | None = None,
    runs: str | os.PathLike[str] = RUNS,
) -> StressReport:
    """Measures how the accuracy of models falls when photos are changed in known ways.

    Photos are measured in blocks, each under all kinds of change, and in an order that keeps the shares of the classes:
    when the time is up, there are fewer photos, and only if it did not suffice for the first block, the last kinds are
    left out. The same call then goes on. The seed decides every change, whatever the order or the number of photos.

    Args:
        models: A run or an exported file, or several with the same classes, which are compared with the first.
        data: As in `zoo.evaluate`.
        split: As in `zoo.evaluate`.
        kinds: The kinds of change; by default all, the adversarial ones only of runs.
        require: Lowest accuracies: ``"jpeg:3=0.85"``, ``"mean=0.7"``; see `zoo.inference.stress.requirements`.
        photos: The most photos; by default all that there are.
        minutes: The time for the measurements; None for no limit.
        seed: Decides the order of the photos and all random changes.
        device: As in `zoo.evaluate`.
        observer: As in `zoo.evaluate`.
        registry: As in `zoo.evaluate`.
        engine: As in `zoo.evaluate`. Adversarial changes are computed in torch.
        data_options: As in `zoo.evaluate`.
        output: The folder of the results; by default one in `runs` that belongs to model and photos.
        runs: The folder of the runs.

    Returns:
        The figures. Requirements that are not met are in its `failures`.

    Raises:
        ConfigError: An argument is wrong, or a model predicts several labels per photo.
        UnknownNameError: There is no such kind of change.
        ZooError: The other errors of `zoo.evaluate`, and `RunError` if the folder cannot be written.
    """
    split, observer = check_split(split), choose_observer(observer)
    _check_limits(photos, minutes, seed)
    names = check_kinds(kinds)
    requirements = parse_requirements(require, count_strengths(names))
    registry = registry or load_registry()
    given = [*models] if isinstance(models, Sequence) and not isinstance(models, str) else [models]
    if not given:
        raise ConfigError("stress: 'models' is empty.", hint="Pass a run or an exported file.")
    found = find_models(given, registry)
    opened = open_together(
        found,
        split=split,
        data=data,
        registry=registry,
        observer=observer,
        data_options=data_options,
        device=device,
        engine=engine,
        passes=_PASSES,
    )
    _check_single_label(opened)
    settings = {"format": _FORMAT, "seed": seed, "photos": _hash_photos(opened.samples, opened.classes)}
    folders = _Folders(root=None if output is None else parse_path(output), runs=parse_path(runs), settings=settings)
    ordered = _put_in_order(opened.samples, seed)
    subjects = []
    for name, model in found.items():
        predictor, samples = opened.predictors[name], _relabel(ordered, opened, name)
        made = make_kinds(model, predictor, names, asked=bool(kinds), seed=seed, device=device, registry=registry)
        if unavailable := [each for each in names if each not in {kind.name for kind in made}]:
            observer(Note(text=f"{name} is not a run with torch, so it is not attacked: {', '.join(unavailable)}."))
        folder = folders.open(name, model, several=len(found) > 1)
        _write_photos(folder.path, samples, predictor.classes)
        subjects.append(Subject(name=name, predictor=predictor, kinds=made, samples=samples[:photos], folder=folder))
    complete = measure_all(subjects, seconds=None if minutes is None else 60 * minutes, observer=observer)
    results, differences = _summarise(subjects, opened.classes)
    report = StressReport(
        models=results,
        differences=differences,
        failures=tuple(filter(None, (each.check(result) for result in results for each in requirements))),
        folder=folders.root or subjects[0].folder.path,
        complete=complete,
        photos=len(opened.samples),
    )
    _write_report(report, subjects, seed=seed, observer=observer)
    return report


@dataclass(frozen=True, slots=True, kw_only=True)
class _Folders:
    """Where the results of models are kept.

    Attributes:
        root: What the user chose, or None.
        runs: The folder of the runs.
        settings: What decides about the answers of every model.
    """

    root: Path | None
    runs: Path
    settings: Mapping[str, Any]

    def open(self, name: str, model: RunFolder | ModelFile, *, several: bool) -> StressFolder:
        path = model.weights_path if isinstance(model, RunFolder) else model.path
        settings = {"model": _hash_file(path), **self.settings}
        if self.root is not None:
            return open_folder(self.root / _to_stem(name) if several else self.root, settings)
        # Not `name`, which is a path where two runs have the same name: the folder would not be found again.
        own = model.name if isinstance(model, RunFolder) else "-".join(path.parts[-2:])
        return find_folder(self.runs, f"stress-{_to_stem(own)}", settings)


def _to_stem(name: str) -> str:
    return re.sub(r"[^\w.@-]+", "-", name)


def _check_limits(photos: int | None, minutes: float | None, seed: int) -> None:
    if photos is not None and photos < 1:
        raise ConfigError(f"stress: argument 'photos' is {photos}.", hint="Pass at least 1.")
    if minutes is not None and not minutes > 0:
        raise ConfigError(f"stress: argument 'minutes' is {minutes:g}.", hint="Pass a number above 0.")
    if seed < 0:
        raise ConfigError(f"stress: argument 'seed' is {seed}.", hint="Pass 0 or more.")


def _check_single_label(opened: OpenedModels) -> None:
    for name, predictor in opened.predictors.items():
        if predictor.multi_label:
            raise ConfigError(
                f"{name} predicts any number of labels for each photo; a stress test needs one class per photo.",
                hint="'zoo evaluate' measures it on unchanged photos.",
            )


def _put_in_order(samples: Sequence[Sample], seed: int) -> list[Sample]:
    labels = [single_label(sample) for sample in samples]
    return [samples[index] for index in stratified_order(labels, seed=seed)]


def _relabel(samples: Sequence[Sample], opened: OpenedModels, name: str) -> tuple[Sample, ...]:
    """Returns samples with the labels of one of the models."""
    own = opened.predictors[name].classes
    return tuple(sample._replace(label=own.index(opened.classes[single_label(sample)])) for sample in samples)


def _summarise(
    subjects: Sequence[Subject], classes: Sequence[str]
) -> tuple[tuple[ModelResult, ...], dict[str, dict[str, Any]]]:
    """Returns the figures of each model, and the differences of the others to the first."""
    results, measured = [], []
    for subject in subjects:
        own = subject.predictor.classes
        labels = np.array([single_label(sample) for sample in subject.samples], dtype=np.int64)
        kinds = [_measured(kind, subject.shown(kind.name)) for kind in subject.kinds]
        clean, *changed = kinds
        if not (clean.answers.predicted != MISSING).any():
            raise DataError(f"None of the first {len(clean.answers)} photos is readable.")
        done = [kind for kind in changed if (kind.answers.predicted != MISSING).any()]
        dropped = [kind.name for kind in changed if kind not in done]
        results.append(summarise_model(subject.name, labels, clean.answers, done, classes=own, dropped=dropped))
        # In the order of the classes of the first model, so that the answers are comparable.
        order = np.array([*map([*classes].index, own), MISSING])
        measured.append([replace(kind, answers=_renumber(kind.answers, order)) for kind in done])
    labels = np.array([classes.index(subjects[0].predictor.classes[single_label(s)]) for s in subjects[0].samples])
    differences = {
        subject.name: compare_kinds(measured[0], other, labels)
        for subject, other in zip(subjects[1:], measured[1:], strict=True)
    }
    return tuple(results), differences


def _measured(kind: Kind, answers: Answers) -> MeasuredKind:
    return MeasuredKind(
        name=kind.name, summary=kind.summary, levels=kind.levels, answers=answers, adversarial=kind.adversarial
    )


def _renumber(answers: Answers, order: NDArray[np.int64]) -> Answers:
    return replace(answers, predicted=order[answers.predicted].astype(np.int32))


def _hash_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}.") from error


def _hash_photos(samples: Sequence[Sample], classes: Sequence[str]) -> str:
    """Returns a hash of names, labels and sizes of files: reading all files would take longer than a short test."""
    digest = hashlib.sha256()
    for sample in sorted(samples, key=lambda sample: sample.name):
        size = len(sample.source) if isinstance(sample.source, bytes) else _file_size(sample.source)
        digest.update(f"{sample.name!r} {classes[single_label(sample)]!r} {size}\n".encode())
    return digest.hexdigest()


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # reported when it is decoded
        return 0


def _write_photos(folder: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Writes the names and the labels of the photos in the order of the answers."""
    with atomic_write(folder / "photos.csv") as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        rows = CsvWriter(file)
        rows.write_row(("photo", "label", "number"))
        for sample in samples:
            label = single_label(sample)
            rows.write_row((printable(sample.name), printable(classes[label]), str(label)))


def _write_report(report: StressReport, subjects: Sequence[Subject], *, seed: int, observer: Observer) -> None:
    """Writes the figures as JSON and, if matplotlib is installed, as pictures."""
    several = len(report.models) > 1
    with atomic_write(report.folder / ("comparison.json" if several else "stress.json")) as temporary:
        temporary.write_text(json.dumps(report.to_dict(), indent=2) + "\n", "utf-8")
    if importlib.util.find_spec("matplotlib") is None:
        observer(Note(text="There are no pictures: matplotlib is not installed."))
        return
    from zoo.inference.stress.pictures import write_pictures

    write_pictures(report.folder, report.models, subjects, seed=seed)
