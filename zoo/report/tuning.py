"""The picture of a study: its trials in their order, what decides about the value, and the value by each option."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from zoo.display.formatting import format_option, format_percent
from zoo.report.plot import INK, MUTED, PALETTE, class_labels, fit, headline, picture, text_width

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = Mapping[str, Any]

LINEAR, LOG = "linear", "log"  # scales of an option
_WIDTH, _TOP, _SLICE, _GAP, _LEFT = 8.6, 2.6, 1.5, 0.75, 0.55  # inches
_HISTORY = 0.55  # share of the width
_PER_ROW, _MAX_SLICES = 4, 8  # options with a panel of their own
_FINISHED, _PRUNED, _BEST = PALETTE[0], MUTED, PALETTE[1]
_SHOWN = 0.9  # share of the trials whose values set the scale; those beyond it are drawn at the edge
_Scale = tuple[Any, ...] | str


def write_tuning(
    path: Path,
    trials: Sequence[Row],
    *,
    parameters: Mapping[str, _Scale],
    importances: Mapping[str, float],
    objective: str,
    higher_is_better: bool,
    title: str,
) -> Path:
    """Plots the value of every trial with the best so far, the importance of each option, and the value by option.

    Args:
        path: The file to write.
        trials: The fields of `zoo.StudyTrial` of each trial; at least one is finished.
        parameters: The options that were searched, each with its choices, or with `LINEAR` or `LOG`.
        importances: The share of each option, most important first; empty if it is not known.
        objective: What was optimised.
        higher_is_better: Whether a higher value is better.
        title: The name of the study.

    Returns:
        `path`.

    Raises:
        RunError: The file cannot be written.
    """
    finished = [trial for trial in trials if trial["value"] is not None]
    sign = 1 if higher_is_better else -1
    best = max(finished, key=lambda trial: (sign * trial["value"], -trial["number"]))
    shown = [name for name in importances or parameters if name in parameters][:_MAX_SLICES]
    rows = math.ceil(len(shown) / _PER_ROW)
    height = _TOP + rows * (_SLICE + _GAP)
    limits = _limits([trial["value"] for trial in finished], sign)
    with picture(path, width=_WIDTH, height=height) as figure:
        word = "highest" if higher_is_better else "lowest"
        found = f"with the {word} {objective}: {best['value']:.4g}"
        headline(figure, title, f"Ring: the best trial, number {best['number']}, {found}")
        top = height - 0.35
        history = _add_axes(figure, _LEFT, top - _TOP + 0.35, _HISTORY * _WIDTH - _LEFT, _TOP - 0.35)
        _draw_history(history, trials, best, sign, limits)
        history.set_ylabel(objective)
        _draw_importances(figure, importances, bottom=top - _TOP + 0.35, height=_TOP - 0.35)
        width = (_WIDTH - _LEFT) / min(_PER_ROW, max(2, len(shown)))
        for index, name in enumerate(shown):
            row, column = divmod(index, _PER_ROW)
            bottom = (rows - 1 - row) * (_SLICE + _GAP)
            axes = _add_axes(figure, _LEFT + column * width, bottom, width - 0.25, _SLICE)
            _draw_slice(axes, finished, best, name, parameters[name], limits)
            axes.tick_params(labelleft=column == 0)
            axes.set_ylabel(objective if column == 0 else "")
    return path


def _add_axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Returns axes at a place in inches."""
    across, up = figure.get_size_inches()
    axes: Axes = figure.add_axes((left / across, bottom / up, width / across, height / up))
    return axes


def _limits(values: Sequence[float], sign: int) -> tuple[float, float]:
    """Returns the ends of the scale: the best value and, beyond most of the others, a worse one."""
    ordered = sorted(values, key=lambda value: -sign * value)
    best, worst = ordered[0], ordered[max(0, math.ceil(_SHOWN * len(ordered)) - 1)]
    margin = 0.08 * abs(worst - best) or 0.05 * abs(best) or 0.05
    return best + sign * margin, worst - sign * margin


def _draw_history(axes: Axes, trials: Sequence[Row], best: Row, sign: int, limits: tuple[float, float]) -> None:
    axes.set_title("Trials")
    finished = [(trial["number"], trial["value"]) for trial in trials if trial["value"] is not None]
    pruned = [(trial["number"], [*trial["epochs"].values()][-1]) for trial in trials if _is_pruned(trial)]
    running = np.maximum.accumulate([sign * value for _, value in finished]) * sign
    last = max(trial["number"] for trial in trials)
    axes.step([*(number for number, _ in finished), last], [*running, running[-1]], where="post", color=_BEST, lw=1.2)
    axes.plot([], [], color=_BEST, lw=1.2, label="best so far")
    _draw_points(axes, finished, limits, color=_FINISHED, s=18, label="finished")
    if pruned:
        _draw_points(axes, pruned, limits, marker="x", color=_PRUNED, s=18, lw=1, label="pruned")
    _ring(axes, best["number"], best["value"])
    axes.set_xlim(0.4, last + 0.6)
    axes.set_ylim(*sorted(limits))
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    axes.grid(axis="y")
    above: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1.02, 1)}
    axes.legend(ncols=3, fontsize=8, borderpad=0.2, handlelength=1.2, columnspacing=1.2, **above)


def _is_pruned(trial: Row) -> bool:
    """Returns whether a trial was pruned after an epoch with a value."""
    return trial["state"] == "pruned" and bool(trial["epochs"]) and math.isfinite([*trial["epochs"].values()][-1])


def _draw_points(
    axes: Axes, points: Sequence[tuple[Any, float]], limits: tuple[float, float], *, label: str = "", **style: Any
) -> None:
    """Draws points, and those beyond the scale as triangles at its edge."""
    low, high = sorted(limits)
    inside = [(x, y) for x, y in points if low <= y <= high]
    axes.scatter([x for x, _ in inside], [y for _, y in inside], zorder=3, label=label or None, **style)
    for edge, marker in ((low, "v"), (high, "^")):
        beyond = [x for x, y in points if (y < low if edge == low else y > high)]
        axes.scatter(beyond, [edge] * len(beyond), marker=marker, color=style["color"], s=18, zorder=3, clip_on=False)


def _ring(axes: Axes, x: float, y: float) -> None:
    axes.scatter([x], [y], s=90, facecolors="none", edgecolors=_BEST, lw=1.5, zorder=4, clip_on=False)


def _draw_importances(figure: Figure, importances: Mapping[str, float], *, bottom: float, height: float) -> None:
    names = class_labels([*importances][:_MAX_SLICES], limit=26)
    left = _HISTORY * _WIDTH + 0.35
    indent = max((text_width(name, 9) for name in names), default=0.0) + 0.1
    axes = _add_axes(figure, left + indent, bottom, _WIDTH - left - indent - 0.3, height)
    axes.spines[:].set_visible(False)
    axes.set_xticks([])
    axes.set_title("What decides about the value", x=-indent / (_WIDTH - left - indent - 0.3))
    if not importances:
        axes.set_yticks([])
        text = "Known once four trials with different\nvalues are finished."
        axes.text(0, 1, text, va="top", color=MUTED, transform=axes.transAxes)
        return
    shares = [*importances.values()][:_MAX_SLICES]
    places = range(len(names))
    axes.barh(places, shares, height=0.6, color=_FINISHED)
    for place, share in zip(places, shares, strict=True):
        axes.annotate(format_percent(share, 0), (share, place), (4, 0), textcoords="offset points", va="center", size=8)
    axes.set_yticks(places, names, color=INK)
    axes.tick_params(length=0)
    axes.set_xlim(0, 1.1 * max(shares))
    axes.set_ylim(max(len(names), 4) - 0.5, -0.5)


def _draw_slice(
    axes: Axes, finished: Sequence[Row], best: Row, name: str, scale: _Scale, limits: tuple[float, float]
) -> None:
    values = {trial["number"]: trial["values"][name] for trial in finished}
    if isinstance(scale, str):
        _scale_numbers(axes, log=scale == LOG)
    else:
        texts = [format_option(choice) for choice in scale]
        values = {number: texts.index(format_option(value)) for number, value in values.items()}
        labels = class_labels(texts, limit=12)
        slanted = sum(text_width(label, 7.5) + 0.1 for label in labels) > 1.6
        axes.set_xticks(range(len(labels)), labels, rotation=35 if slanted else 0, ha="right" if slanted else "center")
        axes.set_xlim(-0.5, len(labels) - 0.5)
    points = [(values[trial["number"]], trial["value"]) for trial in finished]
    _draw_points(axes, points, limits, color=_FINISHED, s=14, alpha=0.7)
    _ring(axes, values[best["number"]], best["value"])
    axes.set_ylim(*sorted(limits))
    axes.set_title(fit(name, 1.7, size=9), size=9)
    axes.grid(axis="y")
    axes.tick_params(labelsize=7.5)


def _scale_numbers(axes: Axes, *, log: bool) -> None:
    if not log:
        axes.xaxis.set_major_locator(MaxNLocator(4))
        return
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(numticks=5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
