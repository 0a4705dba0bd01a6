"""The picture of a search: the accuracy of all that was tried, against the time of a prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib.ticker import MaxNLocator, NullLocator

from zoo.report.plot import INK, MUTED, PALETTE, class_labels, headline, picture

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

_WIDTH, _HEIGHT = 8.6, 3.6  # inches
_APART = 0.045  # of the width of the axis: between points that would hide each other
_FADED = 0.4


class SearchPoint(NamedTuple):
    """What was tried once.

    Attributes:
        number: Beside the point, and in the legend.
        name: In the legend.
        colour: Points with the same text have the same colour.
        panel: The title of the panel that it belongs to, which says where the accuracy was measured.
        milliseconds: Time for a photo at prediction.
        accuracy: 0 to 1.
        low: Lower end of its 95 % interval.
        high: Upper end.
        chosen: Whether it was chosen.
        partial: Whether it was trained on some of the photos only.
    """

    number: int
    name: str
    colour: str
    panel: str
    milliseconds: float
    accuracy: float
    low: float
    high: float
    chosen: bool = False
    partial: bool = False


def write_search(path: Path, points: Sequence[SearchPoint], *, title: str, subtitle: str = "") -> Path:
    """Plots accuracy against cost, one panel for each way in which the accuracy was measured.

    Args:
        path: The file to write.
        points: What was tried.
        title: Name of the search.
        subtitle: A line below it.

    Returns:
        `path`.

    Raises:
        RunError: The file cannot be written.
    """
    panels = list(dict.fromkeys(point.panel for point in points))
    coloured = list(dict.fromkeys(point.colour for point in points))
    colours = {each: PALETTE[number % len(PALETTE)] for number, each in enumerate(coloured)}
    with picture(path, width=_WIDTH, height=_HEIGHT, layout="constrained") as figure:
        headline(figure, title, subtitle)
        handles: dict[int, Any] = {}
        axes = figure.subplots(1, max(1, len(panels)), squeeze=False, sharey=True)[0]
        for each, name in zip(axes, panels, strict=False):
            each.set_title(name)
            handles |= _draw(each, [point for point in points if point.panel == name], colours)
        for each in axes:
            each.set_xlabel("milliseconds for a photo")
            each.yaxis.set_major_formatter(lambda share, _: f"{round(100 * share, 1):g} %")
            each.grid(axis="y")
        below: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (0, 0), "bbox_transform": figure.transFigure}
        named = {point.number: point.name for point in points}
        labels = class_labels([f"{number}: {named[number]}" for number in sorted(handles)], limit=56)
        figure.legend([handles[number] for number in sorted(handles)], labels, ncols=2, borderpad=0, **below)
    return path


def _draw(axes: Axes, points: Sequence[SearchPoint], colours: dict[str, str]) -> dict[int, Any]:
    """Draws the points of a panel, and returns their handles by number."""
    handles = {}
    costs = [point.milliseconds for point in points]
    span = (max(costs) - min(costs)) or max(costs) or 1.0
    taken: list[float] = []
    for point in sorted(points, key=lambda each: (each.milliseconds, each.number)):
        place = point.milliseconds
        if taken and place < taken[-1] + _APART * span:  # beside the one before, instead of on it
            place = taken[-1] + _APART * span
        taken.append(place)
        colour, alpha = colours[point.colour], _FADED if point.partial else 1.0
        error = [[point.accuracy - point.low], [point.high - point.accuracy]]
        marks: dict[str, Any] = {"fmt": "o", "ms": 5, "elinewidth": 1.2, "capsize": 2, "color": colour, "alpha": alpha}
        handles[point.number] = axes.errorbar(place, point.accuracy, yerr=error, **marks)
        if point.chosen:
            axes.plot(place, point.accuracy, "o", ms=12, mfc="none", mec=INK, mew=1.5, zorder=4)
        axes.annotate(
            str(point.number), (place, point.high), (0, 4), textcoords="offset points", ha="center", color=MUTED, size=8
        )
    axes.margins(x=0.12, y=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_minor_locator(NullLocator())
    return handles
