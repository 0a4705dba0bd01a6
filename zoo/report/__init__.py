"""Pictures and pages: curves, confusion matrix and mistakes of a run, variants side by side, sheets of photos."""

from __future__ import annotations

from zoo.report.confusion import write_confusion
from zoo.report.curves import with_mean_ap, write_comparison, write_curves
from zoo.report.label_mistakes import LabelMistake, find_label_mistakes, write_label_mistakes
from zoo.report.mistakes import Mistake, find_mistakes, write_mistakes
from zoo.report.pictures import write_label_pictures, write_pictures
from zoo.report.precision_recall import write_precision_recall
from zoo.report.reliability import write_reliability

__all__ = [
    "LabelMistake",
    "Mistake",
    "find_label_mistakes",
    "find_mistakes",
    "with_mean_ap",
    "write_comparison",
    "write_confusion",
    "write_curves",
    "write_label_mistakes",
    "write_label_pictures",
    "write_mistakes",
    "write_pictures",
    "write_precision_recall",
    "write_reliability",
]
