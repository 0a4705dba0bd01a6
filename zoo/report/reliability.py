"""The reliability diagram: how often predictions of a probability are right, before and after calibration."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from zoo.metrics.intervals import wilson_interval
from zoo.metrics.reliability import find_events, make_bins, measure_reliability
from zoo.metrics.temperature import remove_temperature
from zoo.report.plot import FAINT, MUTED, PALETTE, headline, picture

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from zoo.metrics.calibration import Calibration
    from zoo.metrics.reliability import Bin

_SIDE = 4.2  # inches


def write_reliability(
    path: Path,
    probabilities: NDArray[Any],
    targets: NDArray[Any],
    calibration: Calibration | None,
    *,
    title: str = "",
) -> Path:
    """Plots the share of right predictions against their probability, in bins of equally many (Guo et al. 2017).

    With one class per photo, the predictions are the most probable classes; with several labels per photo, the answers
    to all labels. A line to each dot is its 95 % interval, which crosses the diagonal where chance explains the
    difference.

    Args:
        path: The file to write.
        probabilities: Calibrated probabilities ``(N, classes)``.
        targets: Classes ``(N,)``, or multi-hot ``(N, classes)``.
        calibration: That of the probabilities; with a temperature, those before are shown beside them.
        title: What was predicted: ``"resnet18-linear-hotdog-1, test"``.

    Returns:
        `path`.

    Raises:
        RunError: The file cannot be written.
    """
    error = measure_reliability(probabilities, targets).calibration_error
    with picture(path, width=_SIDE, height=_SIDE) as figure:
        axes = figure.add_axes((0, 0, 1, 1))
        multi_label = targets.ndim == 2
        text, label, drawn = f"calibration error {100 * error:.1f} %", "not calibrated", []
        if calibration is not None and calibration.changes:
            raw = remove_temperature(probabilities, calibration)
            before = measure_reliability(raw, targets).calibration_error
            text, label = (
                f"calibration error {100 * before:.1f} % before, {100 * error:.1f} % after",
                "after calibration",
            )
            drawn = make_bins(*find_events(raw, targets))
            _draw(axes, drawn, label="before calibration", color=PALETTE[1], marker="s")
        bins = make_bins(*find_events(probabilities, targets))
        _draw(axes, bins, label=label, color=PALETTE[0], marker="o")
        _prepare(axes, [*drawn, *bins], multi_label=multi_label)
        heading = "Reliability"
        unit = "answers" if multi_label else "photos"
        count = probabilities.size if multi_label else len(probabilities)
        headline(figure, f"{heading}: {title}" if title else heading, f"{text}, {count:,} {unit}")
        axes.legend(loc="upper left", borderaxespad=0.8)
    return path


def _draw(axes: Axes, bins: list[Bin], *, label: str, color: str, marker: str) -> None:
    confidence, accuracy = [each.confidence for each in bins], [each.accuracy for each in bins]
    for each in bins:
        low, high = wilson_interval(each.accuracy * each.count, each.count)
        axes.plot([each.confidence] * 2, [low, high], color=color, lw=1.0, alpha=0.5, zorder=2)
    axes.plot(confidence, accuracy, color=color, lw=1.2, marker=marker, ms=5, mec="white", label=label, zorder=3)


def _prepare(axes: Axes, bins: list[Bin], *, multi_label: bool) -> None:
    """Draws the scales, from below the lowest dot, and the diagonal of probabilities that are right."""
    low = max(0.0, math.floor(10 * min(min(each.confidence, each.accuracy) for each in bins)) / 10 - 0.05)
    axes.plot([0, 1], [0, 1], color=MUTED, lw=0.8, ls="dashed", zorder=1)
    axes.grid(color=FAINT)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda share, _: f"{round(100 * share):g} %")
    what = ("probability of a label", "photos that have it") if multi_label else ("probability", "right predictions")
    axes.set(xlim=(low, 1.01), ylim=(low, 1.02), xlabel=what[0], ylabel=what[1])
