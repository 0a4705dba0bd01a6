"""The confusion matrix as a picture, from two classes to hundreds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.ticker import PercentFormatter

from zoo.report.plot import (
    FAINT,
    INK,
    MARGIN,
    MUTED,
    PAPER,
    TITLE,
    class_labels,
    fit,
    headline,
    panel,
    picture,
    text_width,
)

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from zoo.metrics.classification import Evaluation

# Up to so many classes a cell holds count and share; count alone; and the classes are named beside the matrix.
BOTH, COUNTED, NAMED = 12, 40, 100
LISTED = 15
_COLOURS = "Blues"

_Counts = npt.NDArray[np.int64]
_Shares = npt.NDArray[np.float64]


def write_confusion(path: Path, evaluation: Evaluation, *, title: str = "") -> Path:
    """Writes a confusion matrix: a row a true class, a column a predicted one, coloured by the share of the row.

    Up to 12 classes each cell shows its count and the share of its row, up to 40 the count. With more than 12 classes
    the commonest confusions are listed beside the matrix; with more than 100 the classes are numbered, not named.

    Args:
        path: The file to write.
        evaluation: What was predicted.
        title: Of what: ``"resnet18-linear-hotdog-1, test"``.

    Returns:
        `path`.

    Raises:
        RunError: The file cannot be written.
    """
    counts = np.array(evaluation.confusion)
    classes = len(counts)
    labels = class_labels(evaluation.classes, limit=24) if classes <= NAMED else ()
    side, size = _matrix_size(classes)
    wide = 0.1 + max(text_width(label, size) for label in labels or ("999",))
    upright = bool(labels) and wide > side / classes
    left, bottom = wide + 0.45, (wide if upright else 0.25) + 0.4
    width = left + side + (4.4 if classes > BOTH else 0.3)
    heading = f"Confusion matrix: {title}" if title else "Confusion matrix"
    width = max(width, min(7.0, text_width(heading, TITLE, bold=True) + 2 * MARGIN + 0.1), 4.5)
    with picture(path, width=width, height=bottom + side + 0.95) as figure:
        headline(figure, heading, _summary(evaluation))
        axes = panel(figure, left=left, bottom=bottom, width=side, height=side)
        _draw_matrix(axes, counts)
        _name_axes(axes, labels, size=size, upright=upright)
        if classes <= COUNTED:
            _write_cells(axes, counts, size=size)
        if classes > BOTH:
            scale = panel(figure, left=left + side + 0.2, bottom=bottom, width=0.12, height=min(side, 2.5))
            _draw_scale(scale, axes)
            _list_confusions(figure, evaluation, left=left + side + 1.0, top=bottom + side)
    return path


def _matrix_size(classes: int) -> tuple[float, float]:
    """Returns the side of the matrix in inches, and the size of its letters in points."""
    if classes <= BOTH:
        return max(2.6, 0.66 * classes), 9
    if classes <= COUNTED:
        return max(6.0, 0.25 * classes), 7.5
    return (max(9.0, 0.11 * classes), 5.5) if classes <= NAMED else (9.0, 9)


def _summary(evaluation: Evaluation) -> str:
    right = sum(row[index] for index, row in enumerate(evaluation.confusion))
    low, high = (100 * bound for bound in evaluation.interval)
    accuracy = f"{100 * evaluation.accuracy:.1f} % (95 % interval {low:.1f} to {high:.1f})"
    return f"{right} of {evaluation.count} right: {accuracy}"


def _shares(counts: _Counts) -> _Shares:
    """Returns each count's share of its row; 0 throughout a row without photos."""
    shares: _Shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


def _norm(classes: int) -> Normalize:
    # Without numbers in the cells, rare confusions must be seen: the square root lifts them.
    return Normalize(0, 1) if classes <= BOTH else PowerNorm(0.5, 0, 1)


def _draw_matrix(axes: Axes, counts: _Counts) -> None:
    classes = len(counts)
    axes.imshow(_shares(counts), cmap=_COLOURS, norm=_norm(classes), aspect="auto", interpolation="nearest")
    axes.spines[:].set(visible=True, color=FAINT)
    if classes <= COUNTED:
        edges = np.arange(classes - 1) + 0.5
        axes.set_xticks(edges, minor=True)
        axes.set_yticks(edges, minor=True)
        axes.grid(which="minor", color=PAPER if classes <= BOTH else FAINT, linewidth=2 if classes <= BOTH else 0.4)
        axes.tick_params(which="minor", length=0)


def _name_axes(axes: Axes, labels: tuple[str, ...], *, size: float, upright: bool) -> None:
    what = "" if labels else " (class number)"
    axes.set_xlabel(f"predicted{what}")
    axes.set_ylabel(f"true{what}")
    axes.tick_params(length=0, labelcolor=INK, labelsize=size)
    if labels:
        axes.set_xticks(range(len(labels)), labels, rotation=90 if upright else 0)
        axes.set_yticks(range(len(labels)), labels)


def _write_cells(axes: Axes, counts: _Counts, *, size: float) -> None:
    shares, norm, colours = _shares(counts), _norm(len(counts)), mpl.colormaps[_COLOURS]
    both = len(counts) <= BOTH
    for row, column in np.ndindex(*counts.shape):
        count, share = counts[row, column], shares[row, column]
        if not both and count == 0:
            continue
        dark = sum(colours(norm(share))[:3]) < 1.6
        colour = PAPER if dark else INK if count else MUTED
        _write(axes, f"{count}", (column, row), rise=6 if both else 0, size=size + 1.5 * both, color=colour)
        if both:
            _write(axes, f"{100 * share:.1f} %", (column, row), rise=-7, size=size - 1.5, color=colour)


def _write(axes: Axes, text: str, cell: tuple[int, int], *, rise: float, size: float, color: str) -> None:
    axes.annotate(
        text, cell, (0, rise), textcoords="offset points", ha="center", va="center", fontsize=size, color=color
    )


def _draw_scale(scale: Axes, axes: Axes) -> None:
    bar = scale.figure.colorbar(axes.images[0], cax=scale, ticks=[0, 0.01, 0.05, 0.25, 0.5, 1])
    bar.outline.set_visible(False)
    scale.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    scale.tick_params(labelsize=7.5)
    scale.set_title("of the row", size=7.5, color=MUTED, loc="left", pad=6)


def _list_confusions(figure: Figure, evaluation: Evaluation, *, left: float, top: float) -> None:
    """Writes the commonest confusions as lines of text, `left` and `top` in inches."""
    counts = np.array(evaluation.confusion)
    labels = [fit(label, 1.15, measure=lambda text: text_width(text, 8)) for label in class_labels(evaluation.classes)]
    wrong = counts * ~np.eye(len(counts), dtype=bool)
    order = np.argsort(-wrong, axis=None, kind="stable")[:LISTED]
    pairs = [divmod(int(index), len(counts)) for index in order if wrong.flat[index]]
    width, height = figure.get_size_inches()
    figure.text(left / width, top / height, "Commonest confusions" if pairs else "No confusions", va="top", size=10)
    for line, (true, predicted) in enumerate(pairs, start=1):
        y = (top - 0.08 - 0.24 * line) / height
        share = f"{wrong[true, predicted]} of {counts[true].sum()}"
        figure.text((left + 0.6) / width, y, share, va="top", ha="right", size=8, color=MUTED)
        text = f"{labels[true]} → {labels[predicted]}"
        figure.text((left + 0.7) / width, y, text, va="top", size=8)
