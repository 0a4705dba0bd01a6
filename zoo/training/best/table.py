"""The table of a search: a row for each attempt, as text, as CSV, and for the picture."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from zoo.display.formatting import format_accuracy
from zoo.metrics.intervals import paired_interval, wilson_interval
from zoo.training.best.attempts import FAILED, NO_MEMORY, OUT_OF_TIME, Outcome
from zoo.training.scores import CROSS_VALIDATION, VALIDATION, Scores
from zoo.utils.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An attempt of a search.

    Attributes:
        number: In the order in which they were tried, from 1.
        name: What was tried: ``"resnet18, 224 px, probe"``.
        status: ``"done"``, ``"failed"``, ``"out of time"`` or ``"not enough memory"``.
        basis: Where `accuracy` was measured: ``"cross-validation"`` or ``"val"``; empty if it was not.
        accuracy: 0 to 1.
        low: Lower end of its 95 % interval.
        high: Upper end.
        photos: Number of photos that it was measured on.
        loss: Mean loss on them.
        val_accuracy: Accuracy on the validation photos, which all attempts on the same photos have.
        difference: `val_accuracy` minus that of the chosen one, or of accuracies by cross-validation if both have them.
        difference_low: Lower end of its 95 % interval, paired photo by photo.
        difference_high: Upper end.
        milliseconds: Time for a photo at prediction.
        seconds: How long the attempt took.
        chosen: Whether it was chosen.
        message: Why it failed, or was not tried.
    """

    number: int
    name: str
    status: str
    basis: str = ""
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None
    photos: int = 0
    loss: float | None = None
    val_accuracy: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    milliseconds: float = 0.0
    seconds: float
    chosen: bool = False
    message: str = ""


def make_rows(outcomes: Sequence[Outcome], chosen: Outcome | None) -> tuple[Row, ...]:
    """Returns the rows of a table."""
    return tuple(_make_row(number, each, chosen) for number, each in enumerate(outcomes, start=1))


def describe_result(outcome: Outcome) -> str:
    """Returns ``"86.9 % (82.1 to 90.5) in cross-validation"``, or why there is no accuracy."""
    if outcome.status == FAILED:
        return f"failed: {outcome.message}"
    if outcome.status == NO_MEMORY:
        return f"not tried: {outcome.message}"
    if outcome.status == OUT_OF_TIME:
        return "out of time"
    basis, scores = _find_basis(outcome)
    accuracy = format_accuracy(*_accuracy(scores))
    stayed = "" if outcome.attempt.is_probe or outcome.tuned else ", the probe stayed"
    where = "in cross-validation" if basis == CROSS_VALIDATION else "on validation photos"
    return f"{accuracy} {where}{stayed}"


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Writes rows as CSV.

    Raises:
        RunError: The file cannot be written.
    """
    with atomic_write(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, Row.__slots__)
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def _make_row(number: int, outcome: Outcome, chosen: Outcome | None) -> Row:
    row = Row(
        number=number,
        name=outcome.attempt.name,
        status=outcome.status,
        seconds=outcome.seconds,
        message=outcome.message,
    )
    if not outcome.done:
        return row
    basis, scores = _find_basis(outcome)
    accuracy, (low, high) = _accuracy(scores)
    difference, lowest, highest = _difference(chosen, outcome) or (None, None, None)
    return replace(
        row,
        basis=basis,
        accuracy=accuracy,
        low=low,
        high=high,
        photos=len(scores.correct),
        loss=float(scores.losses.mean()),
        val_accuracy=_accuracy(outcome.scores[VALIDATION])[0],
        difference=difference,
        difference_low=lowest,
        difference_high=highest,
        milliseconds=outcome.milliseconds,
        chosen=outcome is chosen,
    )


def _find_basis(outcome: Outcome) -> tuple[str, Scores]:
    """Returns the scores that say most about an outcome: a fine-tuned network has been seen by no cross-validation."""
    crossed = not outcome.tuned and CROSS_VALIDATION in outcome.scores
    basis = CROSS_VALIDATION if crossed else VALIDATION
    return basis, outcome.scores[basis]


def _accuracy(scores: Scores) -> tuple[float, tuple[float, float]]:
    count, correct = len(scores.correct), int(scores.correct.sum())
    return correct / count, wilson_interval(correct, count)


def _difference(chosen: Outcome | None, other: Outcome) -> tuple[float, float, float] | None:
    """Returns by how much another outcome is more accurate than the chosen one, with the interval; None if unpaired."""
    if chosen is None or other is chosen:
        return None
    basis = CROSS_VALIDATION if _find_basis(chosen)[0] == _find_basis(other)[0] == CROSS_VALIDATION else VALIDATION
    first, second = chosen.scores[basis].correct, other.scores[basis].correct
    if chosen.attempt.photos != other.attempt.photos or len(first) != len(second):
        return None
    lost, gained, count = int((first & ~second).sum()), int((second & ~first).sum()), len(first)
    return (gained - lost) / count, *paired_interval(lost, gained, count)
