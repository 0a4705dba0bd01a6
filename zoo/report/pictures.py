"""The pictures of a finished run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.report.confusion import write_confusion
from zoo.report.curves import write_curves
from zoo.report.mistakes import write_mistakes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zoo.metrics.classification import Evaluation
    from zoo.report.curves import Row
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
