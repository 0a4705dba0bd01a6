"""The predictions for photos that a run has not seen, a row for each: those of its fold, or of all folds together."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zoo.errors import RunError
from zoo.utils.csv_rows import CsvWriter, unquote_formula
from zoo.utils.files import atomic_write, read_regular_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_COLUMNS = ("photo", "group", "fold", "label", "predicted")  # then the probability of each class


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoPredictions:
    """The predictions for N photos.

    Attributes:
        names: Their names.
        groups: Their groups; empty text for a photo that is a group of its own.
        folds: The fold of each, from 1.
        labels: int64 ``(N,)``.
        probabilities: float32 ``(N, C)``.
    """

    names: tuple[str, ...]
    groups: tuple[str, ...]
    folds: tuple[int, ...]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]


def pool_predictions(parts: Sequence[PhotoPredictions]) -> PhotoPredictions:
    """Returns several predictions as one, in their order."""
    return PhotoPredictions(
        names=tuple(name for part in parts for name in part.names),
        groups=tuple(group for part in parts for group in part.groups),
        folds=tuple(fold for part in parts for fold in part.folds),
        labels=np.concatenate([part.labels for part in parts]),
        probabilities=np.concatenate([part.probabilities for part in parts]),
    )


def write_predictions(path: Path, predictions: PhotoPredictions, classes: Sequence[str]) -> None:
    """Writes predictions as CSV, atomically. Probabilities have as many digits as it takes to read the same numbers.

    Raises:
        RunError: The file cannot be written.
    """
    text = io.StringIO()
    writer = CsvWriter(text)
    writer.write_row((*_COLUMNS, *classes))
    rows = zip(predictions.names, predictions.groups, predictions.folds, predictions.labels.tolist(), strict=True)
    for (name, group, fold, label), row in zip(rows, predictions.probabilities, strict=True):
        writer.write_row((name, group, str(fold), classes[label], classes[int(row.argmax())], *map(str, row)))
    with atomic_write(path) as aside:
        aside.write_bytes(text.getvalue().encode("utf-8", "backslashreplace"))


def read_predictions(path: Path, classes: Sequence[str]) -> PhotoPredictions:
    """Returns the predictions in a file.

    Args:
        path: The file.
        classes: The classes of the run, in the order of their columns.

    Raises:
        RunError: The file cannot be read, or is not one of these classes.
    """
    try:
        text = read_regular_file(path).decode("utf-8")
        header, *rows = csv.reader(io.StringIO(text, newline=""))
        if tuple(map(unquote_formula, header)) != (*_COLUMNS, *classes):
            raise ValueError("its columns are not those of the run")
        return _parse(rows, classes)
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise RunError(f"{path} cannot be read: {error}.", hint="It may be truncated or edited by hand.") from error


def _parse(rows: Iterable[Sequence[str]], classes: Sequence[str]) -> PhotoPredictions:
    numbers = {name: number for number, name in enumerate(classes)}
    names, groups, folds, labels, probabilities = [], [], [], [], []
    for row in rows:
        name, group, fold, label, _, *values = row
        names.append(unquote_formula(name))
        groups.append(unquote_formula(group))
        folds.append(int(fold))
        if (number := numbers.get(unquote_formula(label))) is None or len(values) != len(classes):
            raise ValueError(f"the row of {name} does not fit the classes")
        labels.append(number)
        probabilities.append([float(value) for value in values])
    return PhotoPredictions(
        names=tuple(names),
        groups=tuple(groups),
        folds=tuple(folds),
        labels=np.array(labels, dtype=np.int64),
        probabilities=np.array(probabilities, dtype=np.float32).reshape(len(names), len(classes)),
    )
