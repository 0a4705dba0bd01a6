"""Predictions as rows of a CSV file, for the command line and the demo. Imports no numpy."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from zoo.errors import ZooError
from zoo.utils.csv_rows import CsvWriter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.inference.predictor import Prediction
    from zoo.utils.csv_rows import TextSink


_SEPARATOR = "|"


class PredictionCsv:
    """Writes a header, and then a row for each photo: ``photo,label,probability,...,error``.

    The columns between are the probabilities of all classes, ``cat,dog``; or, if there are more classes than `top`, the
    next classes and their probabilities, the most probable first: ``label 2,probability 2,label 3,...``.

    Of a classifier that recognises unfamiliar photos, a row ends with the familiarity and ``known``, ``yes`` or ``no``,
    before the error.

    With several labels per photo, a row begins with ``photo,labels``: the labels decided, joined by ``|`` as in a table
    of photos, empty where there are none. The most probable classes then begin at ``label 1``.

    With prediction sets, their classes follow the label and its probability, joined by ``|``: ``prediction_set``.

    Args:
        sink: Where to write.
        classes: Class names, in the order of their columns.
        top: The number of classes to write; None: all.
        multi_label: Whether a photo has any number of labels.
        sets: Whether predictions have a prediction set.
        familiarity: Whether the classifier recognises unfamiliar photos.
    """

    def __init__(
        self,
        sink: TextSink,
        classes: Sequence[str],
        *,
        top: int | None = None,
        multi_label: bool = False,
        sets: bool = False,
        familiarity: bool = False,
    ) -> None:
        self._writer = CsvWriter(sink)
        self._classes = classes if top is None or top >= len(classes) else None
        self._multi_label = multi_label
        self._last = ("familiarity", "known") if familiarity else ()
        self._ranks = range(1 if multi_label else 2, (top or 0) + 1)
        columns = self._classes or [f"{what} {rank}" for rank in self._ranks for what in ("label", "probability")]
        first = ["labels"] if multi_label else ["label", "probability", *(["prediction_set"] if sets else [])]
        self._columns = len(first) + len(columns) + len(self._last)
        self._writer.write_row(["photo", *first, *columns, *self._last, "error"])

    def write(self, name: str, outcome: Prediction | ZooError) -> None:
        """Writes the row of a photo: its prediction, or why it has none."""
        if isinstance(outcome, ZooError):
            self._writer.write_row([name, *[""] * self._columns, outcome.message])
            return
        probabilities = outcome.probabilities
        if self._classes is None:
            start = self._ranks.start - 1
            ranked = islice(probabilities.items(), start, start + len(self._ranks))
            cells = [cell for label, value in ranked for cell in (label, f"{value:.6f}")]
        else:
            cells = [f"{probabilities[label]:.6f}" for label in self._classes]
        first = [_SEPARATOR.join(outcome.labels or ())]
        if not self._multi_label:
            first = [outcome.label, f"{outcome.probability:.6f}"]
            first += [] if outcome.prediction_set is None else [_SEPARATOR.join(outcome.prediction_set)]
        last = [f"{outcome.familiarity:.6f}", "yes" if outcome.known else "no"] if self._last else []
        self._writer.write_row([name, *first, *cells, *last, ""])
