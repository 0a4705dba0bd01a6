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


class PredictionCsv:
    """Writes a header, and then a row for each photo: ``photo,label,probability,...,error``.

    The columns between are the probabilities of all classes, ``cat,dog``; or, if there are more classes than `top`, the
    next classes and their probabilities, the most probable first: ``label 2,probability 2,label 3,...``.

    Args:
        sink: Where to write.
        classes: Class names, in the order of their columns.
        top: The number of classes to write; None: all.
    """

    def __init__(self, sink: TextSink, classes: Sequence[str], *, top: int | None = None) -> None:
        self._writer = CsvWriter(sink)
        self._classes = classes if top is None or top >= len(classes) else None
        self._ranks = range(2, (top or 0) + 1)
        columns = self._classes or [f"{what} {rank}" for rank in self._ranks for what in ("label", "probability")]
        self._columns = len(columns)
        self._writer.write_row(["photo", "label", "probability", *columns, "error"])

    def write(self, name: str, outcome: Prediction | ZooError) -> None:
        """Writes the row of a photo: its prediction, or why it has none."""
        if isinstance(outcome, ZooError):
            self._writer.write_row([name, "", "", *[""] * self._columns, outcome.message])
            return
        probabilities = outcome.probabilities
        if self._classes is None:
            ranked = islice(probabilities.items(), 1, 1 + len(self._ranks))
            cells = [cell for label, value in ranked for cell in (label, f"{value:.6f}")]
        else:
            cells = [f"{probabilities[label]:.6f}" for label in self._classes]
        self._writer.write_row([name, outcome.label, f"{outcome.probability:.6f}", *cells, ""])
