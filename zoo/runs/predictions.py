"""The predictions for photos that a run has not seen, a row for each: those of its fold, or of all folds together."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import RunError
from zoo.utils.csv_rows import CsvWriter, unquote_formula
from zoo.utils.files import atomic_write, read_regular_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_COLUMNS = ("photo", "group", "fold", "label", "predicted")  # then the probability of each class
_LABEL_COLUMNS = ("photo", "group", "fold", "labels", "predicted")  # with any number of labels per photo
_SEPARATORS = "|;,/\t\n"  # of the labels of a photo: the first that is in no name


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoPredictions:
    """The predictions for N photos.

    Attributes:
        names: Their names.
        groups: Their groups; empty text for a photo that is a group of its own.
        folds: The fold of each, from 1.
        labels: int64 ``(N,)``; with any number of labels per photo, multi-hot uint8 ``(N, C)``.
        predicted: The predicted classes, int64 ``(N,)``; or the labels decided, bool ``(N, C)``.
        probabilities: float32 ``(N, C)``.
    """

    names: tuple[str, ...]
    groups: tuple[str, ...]
    folds: tuple[int, ...]
    labels: NDArray[Any]
    predicted: NDArray[Any]
    probabilities: NDArray[np.float32]

    @property
    def multi_label(self) -> bool:
        """Whether a photo has any number of labels."""
        return self.labels.ndim == 2


def pool_predictions(parts: Sequence[PhotoPredictions]) -> PhotoPredictions:
    """Returns several predictions as one, in their order."""
    return PhotoPredictions(
        names=tuple(name for part in parts for name in part.names),
        groups=tuple(group for part in parts for group in part.groups),
        folds=tuple(fold for part in parts for fold in part.folds),
        labels=np.concatenate([part.labels for part in parts]),
        predicted=np.concatenate([part.predicted for part in parts]),
        probabilities=np.concatenate([part.probabilities for part in parts]),
    )


def write_predictions(path: Path, predictions: PhotoPredictions, classes: Sequence[str]) -> None:
    """Writes predictions as CSV, atomically. Probabilities have as many digits as it takes to read the same numbers.

    Raises:
        RunError: The file cannot be written.
    """
    text = io.StringIO()
    writer = CsvWriter(text)
    writer.write_row((*(_LABEL_COLUMNS if predictions.multi_label else _COLUMNS), *classes))
    separator = _find_separator(classes)

    def join(value: Any) -> str:
        """Returns the name of a class, or those of the labels of a photo."""
        numbers: list[int] = np.flatnonzero(value).tolist() if predictions.multi_label else [int(value)]
        return separator.join(classes[number] for number in numbers)

    columns = predictions.names, predictions.groups, predictions.folds, predictions.labels, predictions.predicted
    for name, group, fold, label, decided, row in zip(*columns, predictions.probabilities, strict=True):
        writer.write_row((name, group, str(fold), join(label), join(decided), *map(str, row)))
    with atomic_write(path) as aside:
        aside.write_bytes(text.getvalue().encode("utf-8", "backslashreplace"))


def read_predictions(path: Path, classes: Sequence[str], *, multi_label: bool) -> PhotoPredictions:
    """Returns the predictions in a file.

    Args:
        path: The file.
        classes: The classes of the run, in the order of their columns.
        multi_label: Whether a photo has any number of labels.

    Raises:
        RunError: The file cannot be read, or is not one of these classes.
    """
    try:
        text = read_regular_file(path).decode("utf-8")
        header, *rows = csv.reader(io.StringIO(text, newline=""))
        if tuple(map(unquote_formula, header)) != (*(_LABEL_COLUMNS if multi_label else _COLUMNS), *classes):
            raise ValueError("its columns are not those of the run")
        return _parse(rows, classes, multi_label=multi_label)
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise RunError(f"{path} cannot be read: {error}.", hint="It may be truncated or edited by hand.") from error


def _parse(rows: Iterable[Sequence[str]], classes: Sequence[str], *, multi_label: bool) -> PhotoPredictions:
    numbers = {name: number for number, name in enumerate(classes)}
    separator = _find_separator(classes)

    def split(cell: str) -> int | list[bool]:
        """Returns the number of a class, or for each label whether the photo has it."""
        text = unquote_formula(cell)
        if not multi_label:
            return numbers[text]
        found = {numbers[name] for name in text.split(separator)} if text else set()
        return [number in found for number in range(len(classes))]

    names, groups, folds, labels, predicted, probabilities = [], [], [], [], [], []
    for name, group, fold, label, decided, *values in rows:
        names.append(unquote_formula(name))
        groups.append(unquote_formula(group))
        folds.append(int(fold))
        try:
            labels.append(split(label))
            predicted.append(split(decided))
        except KeyError as error:
            raise ValueError(f"the row of {name} names the class {error}, which the run does not have") from None
        if len(values) != len(classes):
            raise ValueError(f"the row of {name} has {len(values)} probabilities for {len(classes)} classes")
        probabilities.append([float(value) for value in values])
    shape = (len(names), len(classes)) if multi_label else (len(names),)
    return PhotoPredictions(
        names=tuple(names),
        groups=tuple(groups),
        folds=tuple(folds),
        labels=np.array(labels, dtype=np.uint8 if multi_label else np.int64).reshape(shape),
        predicted=np.array(predicted, dtype=bool if multi_label else np.int64).reshape(shape),
        probabilities=np.array(probabilities, dtype=np.float32).reshape(len(names), len(classes)),
    )


def _find_separator(classes: Sequence[str]) -> str:
    """Returns what separates the labels of a photo: a character that is in no name."""
    return next((each for each in _SEPARATORS if not any(each in name for name in classes)), "\x1f")
