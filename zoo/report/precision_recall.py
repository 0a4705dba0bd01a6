"""The picture of precision against recall of a multi-label classifier, one curve per label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.display.formatting import pluralize
from zoo.report.plot import FAINT, PALETTE, class_labels, headline, picture

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from zoo.metrics.multi_label import LabelMetrics, MultiLabelEvaluation

MAX_CURVES = 14  # more cannot be distinguished
_SIDE = 4.6  # inches
_LEVELS = (0.2, 0.4, 0.6, 0.8)  # of F1, whose lines lie behind the curves


def write_precision_recall(
    path: Path,
    evaluation: MultiLabelEvaluation,
    probabilities: NDArray[Any],
    targets: NDArray[Any],
    *,
    title: str = "",
) -> Path:
    """Plots precision against recall for every threshold, a curve per label; a dot marks the threshold of the run.

    Of more than `MAX_CURVES` labels, those with the most photos are shown.

    Args:
        path: The file to write.
        evaluation: The metrics of these predictions.
        probabilities: ``(N, labels)``.
        targets: ``(N, labels)``, 1 where a photo has a label and 0 elsewhere.
        title: What was predicted: ``"resnet18-linear-reef-1, test"``.

    Returns:
        `path`.

    Raises:
        RunError: The file cannot be written.
    """
    known = [label for label, each in enumerate(evaluation.per_class) if each.support]
    shown = sorted(sorted(known, key=lambda label: -evaluation.per_class[label].support)[:MAX_CURVES])
    names = class_labels(evaluation.classes, limit=32)
    with picture(path, width=_SIDE, height=_SIDE) as figure:
        heading = "Precision and recall"
        headline(figure, f"{heading}: {title}" if title else heading, _summary(evaluation, len(shown), len(known)))
        axes = figure.add_axes((0, 0, 1, 1))
        _prepare(axes)
        for number, label in enumerate(shown):
            scores = evaluation.per_class[label]
            style: dict[str, Any] = {
                "color": PALETTE[number % len(PALETTE)],
                "linestyle": ("solid", "dashed")[number // len(PALETTE)],
            }
            recall, precision = trace_curve(probabilities[:, label], targets[:, label])
            axes.plot(recall, precision, drawstyle="steps-pre", label=_describe(names[label], scores), **style)
            axes.plot(scores.recall, scores.precision, "o", ms=6, color=style["color"], mec="white", zorder=4)
        axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1), borderaxespad=0)
    return path


def trace_curve(probabilities: NDArray[Any], own: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns recall and precision at every distinct probability of a label, from the highest on, ``(K,)`` each.

    The first point, of recall 0, has the precision of the second.

    Args:
        probabilities: ``(N,)``.
        own: Whether each photo has the label, ``(N,)``; at least one has.
    """
    order = np.argsort(-probabilities, kind="stable")
    ordered, hits = probabilities[order], own[order].astype(np.int64).cumsum()
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    recall, precision = hits[last] / hits[-1], hits[last] / (last + 1)
    return np.append(0.0, recall), np.append(precision[0], precision)


def _summary(evaluation: MultiLabelEvaluation, shown: int, known: int) -> str:
    low, high = (100 * bound for bound in evaluation.intervals["mean_ap"])
    which = "" if shown == known else f" The {shown} labels with the most photos of {known}."
    return (
        f"mAP {100 * evaluation.mean_ap:.1f} % (95 % interval {low:.1f} to {high:.1f}) on {evaluation.count} photos."
        f"{which} Dots: what was decided, at the thresholds"
    )


def _describe(name: str, scores: LabelMetrics) -> str:
    assert scores.average_precision is not None
    return f"{name}: AP {100 * scores.average_precision:.1f} %, {pluralize(scores.support, 'photo')}"


def _prepare(axes: Axes) -> None:
    """Draws the scales, and lines of equal F1."""
    for level in _LEVELS:
        recall = np.geomspace(level / (2 - level), 1, 200)
        axes.plot(recall, level * recall / (2 * recall - level), color=FAINT, lw=0.8, zorder=0)
        axes.annotate(
            f"F1 {level:g}", (1, level / (2 - level)), (-2, 2), textcoords="offset points", ha="right", size=6.5
        )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda share, _: f"{round(100 * share):g} %")
    axes.set(xlim=(-0.01, 1.01), ylim=(0, 1.03), xlabel="recall", ylabel="precision")
