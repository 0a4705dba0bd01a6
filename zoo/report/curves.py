"""Curves over the epochs: of one run, or of several variants side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from zoo.metrics.intervals import mean_interval
from zoo.report.plot import PALETTE, class_labels, headline, legend, panel, picture

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

Row = Mapping[str, Any]

_TRAIN, _VAL = PALETTE[1], PALETTE[0]
_DASHED = (0, (4, 1.5))
_MANY = 30  # Beyond so many epochs markers would hide the line.
_TICKS = 10
_STEPS = (1, 2, 5, 10)
_LABELLED = 4  # With more variants their figures would overlap; the table has them.


def write_curves(path: Path, rows: Sequence[Row], *, title: str) -> Path:
    """Writes loss and accuracy of the training and validation parts, epoch by epoch; the best epoch is ringed.

    Args:
        path: The file to write.
        rows: As `zoo.runs.run.Run.metrics` returns them, the fields of `EpochResult`; None and NaN leave a gap.
        title: Of which run.

    Returns:
        `path`.

    Raises:
        RunError: The file cannot be written.
    """
    best = _best(rows)
    # The probe learns from photos that are not augmented: its loss does not belong on one line with the others.
    tuned = [row for row in rows if row["epoch"] > 0]
    with picture(path, width=9, height=4.2) as figure:
        headline(figure, title, _summary(best))
        handles = []
        for left, what in ((0.62, "loss"), (5.14, "accuracy")):
            axes = panel(figure, left=left, bottom=0.5, width=3.7, height=2.34)
            axes.set_title(what.capitalize())
            handles = [
                _draw_line(axes, tuned, f"train_{what}", color=_TRAIN, linestyle=_DASHED),
                _draw_line(axes, rows, f"val_{what}", color=_VAL),
            ]
            if best:
                axes.plot(
                    best["epoch"], _number(best, f"val_{what}"), "o", ms=10, mfc="none", mec=_VAL, mew=1.5, zorder=4
                )
            _scale_epochs(axes, rows)
            _scale_values(axes, percent=what == "accuracy")
        legend(figure, handles, ("training (augmented photos)", "validation"), columns=2)
    return path


def write_comparison(
    path: Path,
    series: Mapping[str, Sequence[Sequence[Row]]],
    *,
    title: str,
    metric: str = "val_accuracy",
    test: Mapping[str, Sequence[float]] | None = None,
) -> Path:
    """Writes one accuracy curve a variant over the epochs and, beside it, the test accuracy each variant reached.

    A thin line is one run (one seed), the bold one their mean, and the band goes from the lowest to the highest.

    Args:
        path: The file to write.
        series: For each variant the metric rows of each of its runs, as for `write_curves`.
        title: What is compared, on what.
        metric: ``"val_accuracy"`` or ``"train_accuracy"``.
        test: For each variant the test accuracy of each of its runs, drawn with mean and 95 % Student-t interval.

    Returns:
        `path`.

    Raises:
        RunError: The file cannot be written.
    """
    columns = 2 if max(map(len, series), default=0) > 24 else 4
    lines = -(-len(series) // columns)
    height = 4.2 + 0.2 * lines
    with picture(path, width=9, height=height) as figure:
        headline(figure, title, _seeds(series))
        place = {"bottom": 0.5, "height": height - 1.66 - 0.2 * lines}
        axes = panel(figure, left=0.62, width=5.6 if test else 8.1, **place)
        axes.set_title("Validation accuracy" if metric.startswith("val") else "Training accuracy")
        handles = [_draw_variant(axes, runs, metric, **_look(index)) for index, runs in enumerate(series.values())]
        _scale_epochs(axes, [row for runs in series.values() for rows in runs for row in rows])
        _scale_values(axes, percent=True)
        legend(figure, handles, class_labels(list(series), limit=40), columns=columns)
        if test:
            _draw_finals(panel(figure, left=7.0, width=1.75, **place), [test.get(name, ()) for name in series])
    return path


def _best(rows: Sequence[Row]) -> Row | None:
    """Returns the last row marked as the best so far; where none is marked, that of the highest accuracy."""
    marked = [row for row in rows if row.get("best")]
    known = [row for row in rows if not math.isnan(_number(row, "val_accuracy"))]
    return marked[-1] if marked else max(known, key=lambda row: _number(row, "val_accuracy"), default=None)


def _summary(best: Row | None) -> str:
    if best is None:
        return "No epoch was finished."
    when = f"after epoch {best['epoch']}" if best["epoch"] else "those of the probe, before fine-tuning"
    accuracy, loss = _number(best, "val_accuracy"), _number(best, "val_loss")
    return f"Ringed: the best weights, {when}. Validation accuracy {100 * accuracy:.1f} %, loss {loss:.3f}"


def _seeds(series: Mapping[str, Sequence[Sequence[Row]]]) -> str:
    most = max((len(runs) for runs in series.values()), default=0)
    if most < 2:
        return "One run each"
    return f"Up to {most} runs each. Thin: one run; bold: their mean; band: from the lowest to the highest"


def _number(row: Row, key: str) -> float:
    value = row.get(key)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else math.nan


def _draw_line(axes: Axes, rows: Sequence[Row], key: str, **look: Any) -> Any:
    marker = "o" if len(rows) <= _MANY else None
    epochs = [row["epoch"] for row in rows]
    return axes.plot(epochs, [_number(row, key) for row in rows], marker=marker, **look)[0]


def _draw_variant(axes: Axes, runs: Sequence[Sequence[Row]], metric: str, **look: Any) -> Any:
    by_epoch: dict[int, list[float]] = {}
    for rows in runs:
        for row in rows:
            if not math.isnan(value := _number(row, metric)):
                by_epoch.setdefault(row["epoch"], []).append(value)
    epochs = sorted(by_epoch)
    if len(runs) > 1:
        for rows in runs:
            axes.plot([row["epoch"] for row in rows], [_number(row, metric) for row in rows], lw=0.8, alpha=0.6, **look)
        low, high = [min(by_epoch[epoch]) for epoch in epochs], [max(by_epoch[epoch]) for epoch in epochs]
        axes.fill_between(epochs, low, high, color=look["color"], alpha=0.12, linewidth=0)
    means = [mean_interval(by_epoch[epoch])[0] for epoch in epochs]
    return axes.plot(epochs, means, lw=2.4, marker="o" if len(epochs) <= _MANY else None, **look)[0]


def _draw_finals(axes: Axes, groups: Sequence[Sequence[float]]) -> None:
    """Draws the measurements of each group as dots in a column, with mean and interval beside them."""
    axes.set_title("Test accuracy")
    repeated = max(map(len, groups), default=0) > 1
    for index, values in enumerate(groups):
        if not values:
            continue
        colour = _look(index)["color"]
        mean, half = mean_interval(values)
        if repeated:
            places = index - 0.2 + np.linspace(-0.1, 0.1, len(values))
            axes.plot(places, values, "o", color=colour, alpha=0.45, markeredgewidth=0)
        axes.errorbar(index + 0.1, mean, yerr=half, fmt="o", color=colour, ms=6, elinewidth=1.5, capsize=3)
        if len(groups) <= _LABELLED:
            axes.annotate(f"{100 * mean:.1f}", (index + 0.1, mean), (6, 0), textcoords="offset points", va="center")
    axes.set_xlim(-0.6, len(groups) - 0.2)
    axes.set_xticks([])
    axes.set_xlabel("runs, mean, 95 % interval" if repeated else "one run each")
    _scale_values(axes, percent=True)


def _look(index: int) -> dict[str, Any]:
    return {
        "color": PALETTE[index % len(PALETTE)],
        "linestyle": ("solid", _DASHED, "dotted")[index // len(PALETTE) % 3],
    }


def _scale_epochs(axes: Axes, rows: Sequence[Row]) -> None:
    epochs = sorted({row["epoch"] for row in rows}) or [1]
    margin = max(0.3, 0.03 * (epochs[-1] - epochs[0]))
    axes.set_xlim(epochs[0] - margin, epochs[-1] + margin)
    if len(epochs) <= _TICKS:
        axes.set_xticks(epochs)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(_TICKS, integer=True, steps=_STEPS))
    axes.xaxis.set_major_formatter(lambda epoch, _: "probe" if epoch == 0 else f"{epoch:g}")
    axes.set_xlabel("epoch")


def _scale_values(axes: Axes, *, percent: bool) -> None:
    axes.grid(axis="y")
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=_STEPS))
    low, high = axes.dataLim.intervaly
    if percent:
        axes.yaxis.set_major_formatter(lambda share, _: f"{round(100 * share, 2):g} %")
    if not low <= high:  # nothing drawn
        axes.set_ylim(0, 1)
    elif percent:
        room = max(0.01, 0.08 * (high - low), 0.025 - (high - low) / 2)
        axes.set_ylim(max(low - room, -0.01), min(high + room, 1.01))
    else:
        axes.set_ylim(0, 1.08 * high or 1)
