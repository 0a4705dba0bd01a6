"""The pictures of a finished run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.display.scores import MEAN_AP
from zoo.report.confusion import write_confusion
from zoo.report.curves import with_mean_ap, write_curves
from zoo.report.label_mistakes import write_label_mistakes
from zoo.report.mistakes import write_mistakes
from zoo.report.precision_recall import write_precision_recall

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from zoo.metrics.classification import Evaluation
    from zoo.metrics.multi_label import MultiLabelEvaluation
    from zoo.report.curves import Row
    from zoo.report.label_mistakes import LabelMistake
    from zoo.report.mistakes import Mistake


def write_pictures(
    folder: Path, *, rows: Sequence[Row], evaluation: Evaluation, mistakes: Sequence[Mistake], split: str
) -> None:
    """Writes ``curves.png``, ``confusion.png`` and ``mistakes.png`` into a run folder.

    Args:
        folder: The run folder; its name is the title of the pictures.
        rows: One per epoch, as for `write_curves`.
        evaluation: The metrics of the best weights.
        mistakes: All mistakes of the best weights.
        split: The photos that were evaluated: ``"test"`` or ``"validation"``.

    Raises:
        RunError: A file cannot be written.
    """
    title = f"{folder.name}, {split}"
    write_curves(folder / "curves.png", rows, title=folder.name)
    write_confusion(folder / "confusion.png", evaluation, title=title)
    write_mistakes(folder / "mistakes.png", mistakes, classes=evaluation.classes, count=evaluation.count, title=title)


def write_label_pictures(
    folder: Path,
    *,
    rows: Sequence[Row],
    evaluation: MultiLabelEvaluation,
    mistakes: Sequence[LabelMistake],
    probabilities: NDArray[Any],
    targets: NDArray[Any],
    split: str,
) -> None:
    """Writes ``curves.png``, ``precision_recall.png`` and ``mistakes.png`` of a multi-label run.

    Args:
        folder: As for `write_pictures`.
        rows: As for `write_pictures`.
        evaluation: The metrics of the best weights.
        mistakes: All mistakes of the best weights.
        probabilities: Their predictions ``(N, labels)``.
        targets: The labels of the photos, multi-hot ``(N, labels)``.
        split: As for `write_pictures`.

    Raises:
        RunError: A file cannot be written.
    """
    title = f"{folder.name}, {split}"
    write_curves(folder / "curves.png", with_mean_ap(rows), title=folder.name, figure=MEAN_AP)
    write_precision_recall(folder / "precision_recall.png", evaluation, probabilities, targets, title=title)
    write_label_mistakes(
        folder / "mistakes.png", mistakes, classes=evaluation.classes, count=evaluation.count, title=title
    )
