"""Pictures and pages: curves, confusion matrix and mistakes of a run, variants side by side, sheets of photos."""

from __future__ import annotations

from zoo.report.confusion import write_confusion
from zoo.report.curves import write_comparison, write_curves
from zoo.report.mistakes import Mistake, find_mistakes, write_mistakes
from zoo.report.pictures import write_pictures

__all__ = [
    "Mistake",
    "find_mistakes",
    "write_comparison",
    "write_confusion",
    "write_curves",
    "write_mistakes",
    "write_pictures",
]
