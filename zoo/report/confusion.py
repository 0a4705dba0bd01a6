"""The confusion matrix as a picture, from one class to a thousand; of more, the most common confusions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.ticker import PercentFormatter

from zoo.report.plot import FAINT, INK, MUTED, PAPER, class_labels, fit, headline, picture, text_width

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from zoo.metrics.classification import Evaluation

# Cells show count and share up to MAX_SHARES classes, the count alone up to MAX_COUNTS; up to MAX_NAMES the axes show
# the names of the classes. A cell of more than MAX_MATRIX classes would be smaller than a pixel.
MAX_SHARES, MAX_COUNTS, MAX_NAMES, MAX_MATRIX = 12, 40, 100, 1000
MAX_CONFUSIONS = 15
_MAX_LISTED = 40  # confusions without a matrix
_COLOURS = "Blues"

_Counts = npt.NDArray[np.int64]
_Shares = npt.NDArray[np.float64]


def write_confusion(path: Path, evaluation: Evaluation, *, title: str = "") -> Path:
    """Writes a confusion matrix: a row per true class, a column per predicted class, coloured by the share of the row.

    Each cell shows its count and the share of its row (up to 12 classes), or its count (up to 40). Beside the matrix of
    more than 12 classes stands a list of the most common confusions. More than 100 classes are numbered, not named. Of
    more than 1,000 classes there is only the list.

    Args:
        path: The file to write.
        evaluation: The metrics of the predictions.
        title: What was predicted: ``"resnet18-linear-hotdog-1, test"``.

    Returns:
        `path`.

    Raises:
        RunError: The file cannot be written.
    """
    classes = len(evaluation.classes)
    if classes > MAX_MATRIX:
        return _write_list(path, evaluation, title)
    counts = evaluation.confusion
    side, size = _matrix_size(classes)
    # The figure is the matrix; everything else hangs over its edges, and the picture grows to hold it.
    with picture(path, width=side, height=side) as figure:
        headline(figure, f"Confusion matrix: {title}" if title else "Confusion matrix", _summary(evaluation))
        axes = figure.add_axes((0, 0, 1, 1))
        _draw_matrix(axes, counts)
        _label_axes(axes, class_labels(evaluation.classes, limit=24) if classes <= MAX_NAMES else (), side, size=size)
        if classes <= MAX_COUNTS:
            _write_cells(axes, counts, size=size)
        if classes > MAX_SHARES:
            _draw_scale(axes, side)
            _list_confusions(axes, evaluation, place=(1, 1), indent=14, most=MAX_CONFUSIONS)
    return path


def _write_list(path: Path, evaluation: Evaluation, title: str) -> Path:
    """Writes the most common confusions without a matrix."""
    with picture(path, width=6, height=0.1) as figure:
        headline(figure, f"Confusions: {title}" if title else "Confusions", _summary(evaluation))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        _list_confusions(axes, evaluation, place=(0, 1), indent=0, most=_MAX_LISTED)
    return path


def _matrix_size(classes: int) -> tuple[float, float]:
    """Returns the side of the matrix in inches, and the size of its text in points."""
    if classes <= MAX_SHARES:
        return max(2.6, 0.66 * classes), 9
    if classes <= MAX_COUNTS:
        return max(6.0, 0.25 * classes), 7.5
    return (max(9.0, 0.11 * classes), 5.5) if classes <= MAX_NAMES else (9.0, 9)


def _summary(evaluation: Evaluation) -> str:
    correct = round(evaluation.accuracy * evaluation.count)
    low, high = (100 * bound for bound in evaluation.interval)
    accuracy = f"{100 * evaluation.accuracy:.1f} % (95 % interval {low:.1f} to {high:.1f})"
    return f"{correct} of {evaluation.count} correct: {accuracy}"


def _row_shares(counts: _Counts) -> _Shares:
    """Returns each count's share of its row; 0 throughout a row without photos."""
    shares: _Shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


def _norm(classes: int) -> Normalize:
    # The square root makes rare confusions visible in cells without percentages.
    return Normalize(0, 1) if classes <= MAX_SHARES else PowerNorm(0.5, 0, 1)


def _draw_matrix(axes: Axes, counts: _Counts) -> None:
    classes = len(counts)
    axes.imshow(_row_shares(counts), cmap=_COLOURS, norm=_norm(classes), aspect="auto", interpolation="nearest")
    axes.spines[:].set(visible=True, color=FAINT)
    if classes <= MAX_COUNTS:
        edges = np.arange(classes - 1) + 0.5
        axes.set_xticks(edges, minor=True)
        axes.set_yticks(edges, minor=True)
        few = classes <= MAX_SHARES
        axes.grid(which="minor", color=PAPER if few else FAINT, linewidth=2 if few else 0.4)
        axes.tick_params(which="minor", length=0)


def _label_axes(axes: Axes, labels: tuple[str, ...], side: float, *, size: float) -> None:
    unit = "" if labels else " (class number)"
    axes.set_xlabel(f"predicted{unit}")
    axes.set_ylabel(f"true{unit}")
    axes.tick_params(length=0, labelcolor=INK, labelsize=size)
    if labels:
        upright = max(text_width(label, size) for label in labels) + 0.1 > side / len(labels)
        axes.set_xticks(range(len(labels)), labels, rotation=90 if upright else 0)
        axes.set_yticks(range(len(labels)), labels)


def _write_cells(axes: Axes, counts: _Counts, *, size: float) -> None:
    shares, norm, colours = _row_shares(counts), _norm(len(counts)), mpl.colormaps[_COLOURS]
    with_shares = len(counts) <= MAX_SHARES
    for row, column in np.ndindex(*counts.shape):
        count, share = counts[row, column], shares[row, column]
        if not with_shares and count == 0:
            continue
        dark = sum(colours(norm(share))[:3]) < 1.6
        colour = PAPER if dark else INK if count else MUTED
        _write(axes, f"{count}", (column, row), offset=6 * with_shares, size=size + 1.5 * with_shares, color=colour)
        if with_shares:
            _write(axes, f"{100 * share:.1f} %", (column, row), offset=-7, size=size - 1.5, color=colour)


def _write(axes: Axes, text: str, cell: tuple[int, int], *, offset: float, size: float, color: str) -> None:
    centred: dict[str, Any] = {"ha": "center", "va": "center"}
    axes.annotate(text, cell, (0, offset), textcoords="offset points", fontsize=size, color=color, **centred)


def _draw_scale(axes: Axes, side: float) -> None:
    scale = axes.inset_axes((1 + 0.2 / side, 0, 0.12 / side, 2.5 / side))
    bar = axes.figure.colorbar(axes.images[0], cax=scale, ticks=[0, 0.01, 0.05, 0.25, 0.5, 1])
    bar.outline.set_visible(False)
    scale.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    scale.tick_params(labelsize=7.5)
    scale.set_title("of the row", size=7.5, color=MUTED, loc="left", pad=6)


def _list_confusions(
    axes: Axes, evaluation: Evaluation, *, place: tuple[float, float], indent: float, most: int
) -> None:
    """Writes the most common confusions below a place of the axes, beside the matrix or alone."""
    labels = dict(zip(evaluation.classes, class_labels(evaluation.classes), strict=True))
    lines = [
        f"{pair.count} of {pair.support}: {fit(labels[pair.true], 1.5, size=8)} → "
        f"{fit(labels[pair.predicted], 1.5, size=8)}"
        for pair in evaluation.most_confused(most)
    ]
    where: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "top"}
    axes.annotate("Most common confusions" if lines else "No confusions", place, (indent, 0), size=10, **where)
    axes.annotate("\n".join(lines), place, (indent, -18), size=8, linespacing=1.6, **where)
