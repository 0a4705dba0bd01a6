"""Curves over the epochs: of one run, or of several variants side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from zoo.display.scores import ACCURACY
from zoo.metrics.intervals import MIN_RUNS, mean_interval
from zoo.report.plot import PALETTE, class_labels, headline, picture

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Row = Mapping[str, Any]

_TRAIN, _VAL = PALETTE[1], PALETTE[0]
_DASHED = (0, (4, 1.5))
_MAX_MARKERS = 30  # With more epochs, markers would hide the line.
_MAX_TICKS = 10
_TICK_STEPS = (1, 2, 5, 10)
_MAX_ANNOTATED = 4  # With more variants, their values would overlap.
_WIDTH, _HEIGHT = 8.6, 3.2  # inches


def write_curves(path: Path, rows: Sequence[Row], *, title: str, figure: str = ACCURACY) -> Path:
    """Plots loss and accuracy on training and validation photos per epoch; a ring marks the best epoch.

    Args:
        path: The file to write.
        rows: The fields of `EpochResult` of each epoch, as `zoo.runs.run.RunFolder.metrics` returns them. None and NaN
            leave a gap.
        title: Name of the run.
        figure: What the accuracies of the rows are called; see `with_mean_ap`.

    Returns:
        `path`.

    Raises:
        RunError: The file cannot be written.
    """
    best = _best(rows)
    # The probe trains on photos without augmentation: its loss does not compare with that of the other epochs.
    tuned = [row for row in rows if row["epoch"] > 0]
    with picture(path, width=_WIDTH, height=_HEIGHT, layout="constrained") as canvas:
        headline(canvas, title, _summary(best, figure))
        handles = []
        for axes, metric in zip(canvas.subplots(1, 2), ("loss", "accuracy"), strict=True):
            axes.set_title("Loss" if metric == "loss" else _capitalise(figure))
            handles = [
                _draw_line(axes, tuned, f"train_{metric}", color=_TRAIN, linestyle=_DASHED),
                _draw_line(axes, rows, f"val_{metric}", color=_VAL),
            ]
            if best:
                axes.plot(
                    best["epoch"], _number(best, f"val_{metric}"), "o", ms=10, mfc="none", mec=_VAL, mew=1.5, zorder=4
                )
            _scale_epochs(axes, rows)
            _scale_values(axes, percent=metric == "accuracy")
        _legend(canvas, handles, ("training (augmented photos)", "validation"), columns=2)
    return path


def with_mean_ap(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Returns the rows of a run with several labels per photo, with the mAP in place of the validation accuracy."""
    values = ((row, (row.get("metrics") or {}).get("mean_ap")) for row in rows)
    return [{**row, "train_accuracy": None, "val_accuracy": value} for row, value in values]


def _capitalise(text: str) -> str:
    """Returns ``Accuracy`` for ``accuracy``, and ``mAP`` as it is."""
    return text.capitalize() if text.islower() else text


def write_comparison(
    path: Path,
    series: Mapping[str, Sequence[Sequence[Row]]],
    *,
    title: str,
    metric: str = "val_accuracy",
    figure: str = ACCURACY,
    test: Mapping[str, Sequence[float]] | None = None,
) -> Path:
    """Plots one accuracy curve per variant over the epochs and, beside the curves, the test accuracy of each variant.

    A thin line is one run (one seed), a bold line their mean, and the band covers the range between the runs.

    Args:
        path: The file to write.
        series: For each variant the rows of each of its runs, as for `write_curves`.
        title: What the runs have in common.
        metric: ``"val_accuracy"`` or ``"train_accuracy"``.
        figure: As for `write_curves`.
        test: For each variant the test accuracy of each of its runs. Three or more get a 95 % Student-t interval.

    Returns:
        `path`.

    Raises:
        RunError: The file cannot be written.
    """
    columns = 2 if max(map(len, series), default=0) > 24 else 4
    with picture(path, width=_WIDTH, height=_HEIGHT, layout="constrained") as canvas:
        headline(canvas, title, _seeds(series))
        panels = canvas.subplots(1, 2 if test else 1, squeeze=False, width_ratios=(4, 1) if test else None)[0]
        axes = panels[0]
        axes.set_title(f"{'Validation' if metric.startswith('val') else 'Training'} {figure}")
        handles = [_draw_variant(axes, runs, metric, **_style(index)) for index, runs in enumerate(series.values())]
        _scale_epochs(axes, [row for runs in series.values() for rows in runs for row in rows])
        _scale_values(axes, percent=True)
        _legend(canvas, handles, class_labels(list(series), limit=40), columns=columns)
        if test:
            _draw_test_accuracies(panels[1], [test.get(name, ()) for name in series], figure)
    return path


def _legend(figure: Figure, handles: Sequence[Artist], labels: Sequence[str], *, columns: int) -> None:
    # Below the figure, which the picture grows to include: it may have any number of rows.
    below: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (0, 0), "bbox_transform": figure.transFigure}
    figure.legend(handles, labels, ncols=columns, borderpad=0, **below)


def _best(rows: Sequence[Row]) -> Row | None:
    """Returns the last row marked as best; if none is marked, the row with the highest validation accuracy."""
    marked = [row for row in rows if row.get("best")]
    scored = [row for row in rows if not math.isnan(_number(row, "val_accuracy"))]
    return marked[-1] if marked else max(scored, key=lambda row: _number(row, "val_accuracy"), default=None)


def _summary(best: Row | None, figure: str) -> str:
    if best is None:
        return "No finished epochs"
    source = f"after epoch {best['epoch']}" if best["epoch"] else "from the probe, before fine-tuning"
    accuracy, loss = _number(best, "val_accuracy"), _number(best, "val_loss")
    return f"Ring: the best weights, {source}. Validation {figure} {100 * accuracy:.1f} %, loss {loss:.3f}"


def _seeds(series: Mapping[str, Sequence[Sequence[Row]]]) -> str:
    most = max((len(runs) for runs in series.values()), default=0)
    if most < 2:
        return "One run each"
    return f"Up to {most} runs each. Thin line: one run; bold line: mean; band: lowest to highest"


def _number(row: Row, key: str) -> float:
    value = row.get(key)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else math.nan


def _draw_line(axes: Axes, rows: Sequence[Row], key: str, **style: Any) -> Line2D:
    marker = "o" if len(rows) <= _MAX_MARKERS else None
    epochs = [row["epoch"] for row in rows]
    return axes.plot(epochs, [_number(row, key) for row in rows], marker=marker, **style)[0]


def _draw_variant(axes: Axes, runs: Sequence[Sequence[Row]], metric: str, **style: Any) -> Line2D:
    by_epoch: dict[int, list[float]] = {}
    for rows in runs:
        for row in rows:
            if not math.isnan(value := _number(row, metric)):
                by_epoch.setdefault(row["epoch"], []).append(value)
    epochs = sorted(by_epoch)
    if len(runs) > 1:
        for rows in runs:
            values = [_number(row, metric) for row in rows]
            axes.plot([row["epoch"] for row in rows], values, lw=0.8, alpha=0.6, **style)
        low, high = [min(by_epoch[epoch]) for epoch in epochs], [max(by_epoch[epoch]) for epoch in epochs]
        axes.fill_between(epochs, low, high, color=style["color"], alpha=0.12, linewidth=0)
    means = [fmean(by_epoch[epoch]) for epoch in epochs]
    return axes.plot(epochs, means, lw=2.4, marker="o" if len(epochs) <= _MAX_MARKERS else None, **style)[0]


def _draw_test_accuracies(axes: Axes, groups: Sequence[Sequence[float]], figure: str) -> None:
    """Draws the runs of each variant as dots in a column, with their mean and its interval beside them."""
    axes.set_title(f"Test {figure}")
    most = max(map(len, groups), default=0)
    for index, values in enumerate(groups):
        if not values:
            continue
        colour = _style(index)["color"]
        mean, half_width = mean_interval(values)
        if most > 1:
            places = index - 0.2 + np.linspace(-0.1, 0.1, len(values))
            axes.plot(places, values, "o", color=colour, alpha=0.45, markeredgewidth=0)
        axes.errorbar(index + 0.1, mean, yerr=half_width, fmt="o", color=colour, ms=6, elinewidth=1.5, capsize=3)
        if len(groups) <= _MAX_ANNOTATED:
            top = max(mean + (half_width or 0), *values)
            axes.annotate(f"{100 * mean:.1f}", (index, top), (0, 6), textcoords="offset points", ha="center")
    axes.set_xlim(-0.6, len(groups) - 0.4)
    axes.set_xticks([])
    legend = "one run each" if most < 2 else "runs and mean"
    axes.set_xlabel(f"{legend}, 95 % interval" if most >= MIN_RUNS else legend)
    _scale_values(axes, percent=True)


def _style(index: int) -> dict[str, Any]:
    return {
        "color": PALETTE[index % len(PALETTE)],
        "linestyle": ("solid", _DASHED, "dotted")[index // len(PALETTE) % 3],
    }


def _scale_epochs(axes: Axes, rows: Sequence[Row]) -> None:
    epochs = sorted({row["epoch"] for row in rows}) or [1]
    margin = max(0.3, 0.03 * (epochs[-1] - epochs[0]))
    axes.set_xlim(epochs[0] - margin, epochs[-1] + margin)
    if len(epochs) <= _MAX_TICKS:
        axes.set_xticks(epochs)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(_MAX_TICKS, integer=True, steps=_TICK_STEPS))
    axes.xaxis.set_major_formatter(lambda epoch, _: "probe" if epoch == 0 else f"{epoch:g}")
    axes.set_xlabel("epoch")


def _scale_values(axes: Axes, *, percent: bool) -> None:
    axes.grid(axis="y")
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=_TICK_STEPS))
    low, high = axes.dataLim.intervaly
    if percent:
        axes.yaxis.set_major_formatter(lambda share, _: f"{round(100 * share, 2):g} %")
    if not low <= high:  # no data
        axes.set_ylim(0, 1)
    elif percent:
        padding = max(0.01, 0.08 * (high - low), 0.025 - (high - low) / 2)
        axes.set_ylim(max(low - padding, -0.01), min(high + padding, 1.01))
    else:
        axes.set_ylim(0, 1.08 * high or 1)
