"""The pictures of a run: its curves, its confusion matrix, its mistakes; and variants side by side."""

from __future__ import annotations

from zoo.report.confusion import write_confusion
from zoo.report.curves import write_comparison, write_curves
from zoo.report.mistakes import Mistake, find_mistakes, write_mistakes

__all__ = ["Mistake", "find_mistakes", "write_comparison", "write_confusion", "write_curves", "write_mistakes"]
