"""The pictures of a stress test: a panel of curves for each kind of change, a map of classes, sheets of flips."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib.colors import LinearSegmentedColormap

from zoo.report.plot import FAINT, INK, MUTED, PALETTE, PAPER, class_labels, headline, picture, text_width
from zoo.report.sheets import Tile, write_tiles

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from matplotlib.axes import Axes

_COLUMNS = 5  # of panels
_PANEL_WIDTH, _PANEL_HEIGHT = 1.85, 1.65  # inches
_CELL = 0.46, 0.26  # inches of a cell of the map
_FADED = "#b35900"  # the label of a photo that flipped, dark enough for small print
_MAX_CLASSES = 24
_COLOURS = LinearSegmentedColormap.from_list("loss", [PAPER, "#f6c7a6", "#d55e00", "#7a2f00"])


class Curve(NamedTuple):
    """The accuracy of a model under a kind of change.

    Attributes:
        model: Its name.
        accuracies: At the strengths 0 (unchanged), 1, 2 and so on.
        lows: The lower ends of their 95 % intervals.
        highs: The upper ends.
    """

    model: str
    accuracies: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]


class Flip(NamedTuple):
    """A photo that is right as it is, and wrong once it is changed.

    Attributes:
        name: The name of the photo.
        photo: What the network sees of it, uint8 ``(h, w, 3)``.
        changed: The same, changed.
        strength: Of the change.
        label: The true class, an index into the classes.
        predicted: What the changed photo is taken for, an index into the classes.
        probability: Its probability, 0 to 1.
    """

    name: str
    photo: np.ndarray
    changed: np.ndarray
    strength: int
    label: int
    predicted: int
    probability: float


def write_stress_curves(path: Path, panels: Mapping[str, Sequence[Curve]], *, title: str, subtitle: str = "") -> Path:
    """Plots accuracy against strength, one panel for each kind of change.

    Args:
        path: The file to write.
        panels: The curves of each kind, of the same models in the same order.
        title: What was tested.
        subtitle: A line below it.

    Returns:
        `path`.

    Raises:
        RunError: The file cannot be written.
    """
    rows = max(1, math.ceil(len(panels) / _COLUMNS))
    columns = min(_COLUMNS, max(1, len(panels)))
    models = list(dict.fromkeys(curve.model for curves in panels.values() for curve in curves))
    low = min((min(curve.lows) for curves in panels.values() for curve in curves), default=0.0)
    bottom = max(0.0, math.floor(10 * low) / 10)
    width, height = columns * _PANEL_WIDTH, rows * _PANEL_HEIGHT
    with picture(path, width=width, height=height, layout="constrained") as figure:
        headline(figure, title, subtitle)
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        handles: dict[str, Any] = {}
        for axes, (name, curves) in zip(grid, panels.items(), strict=False):
            handles |= _draw_panel(axes, name, curves, models)
            axes.set_ylim(bottom, 1.01)
            axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        if len(models) > 1:
            below: dict[str, Any] = {
                "loc": "upper left",
                "bbox_to_anchor": (0, 0),
                "bbox_transform": figure.transFigure,
            }
            labels = class_labels(models, limit=56)
            figure.legend([handles[model] for model in models], labels, ncols=2, borderpad=0, **below)
    return path


def _draw_panel(axes: Axes, name: str, curves: Sequence[Curve], models: Sequence[str]) -> dict[str, Any]:
    axes.set_title(name, pad=4)
    axes.grid(axis="y")
    handles = {}
    for curve in curves:
        colour = PALETTE[models.index(curve.model) % len(PALETTE)]
        strengths = range(len(curve.accuracies))
        axes.fill_between(strengths, curve.lows, curve.highs, color=colour, alpha=0.15, linewidth=0)
        (handles[curve.model],) = axes.plot(strengths, curve.accuracies, marker="o", ms=3, lw=1.4, color=colour)
    most = max(len(curve.accuracies) for curve in curves) - 1
    axes.set_xlim(-0.3, max(most, 1) + 0.3)
    axes.set_xticks(range(most + 1))
    axes.tick_params(labelsize=7.5)
    return handles


def write_classes(
    path: Path, losses: Mapping[str, Sequence[float]], *, kinds: Sequence[str], clean: Sequence[float], title: str
) -> Path:
    """Draws how many points of accuracy each class loses under each kind of change.

    Args:
        path: The file to write.
        losses: For each class, from the one that loses most, its loss under each kind, -1 to 1.
        kinds: The kinds, in the order of the losses.
        clean: The accuracy of each class on unchanged photos.
        title: What was tested.

    Returns:
        `path`. Of many classes the picture shows those that lose most.

    Raises:
        RunError: The file cannot be written.
    """
    shown = list(losses)[:_MAX_CLASSES]
    values = [[100 * loss for loss in losses[name]] for name in shown]
    left = f"{len(shown)} of {len(losses)} classes" if len(shown) < len(losses) else f"{len(shown)} classes"
    subtitle = f"Points of accuracy that a class loses, the mean over the strengths. {left}, the weakest first"
    with picture(path, width=_CELL[0] * len(kinds), height=_CELL[1] * len(shown)) as figure:
        headline(figure, title, subtitle)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.imshow(values, cmap=_COLOURS, vmin=0, vmax=100, aspect="auto", interpolation="nearest")
        axes.spines[:].set(visible=True, color=FAINT)
        slanted = max(text_width(kind, 8) for kind in kinds) > _CELL[0]
        axes.set_xticks(range(len(kinds)), kinds, rotation=45 if slanted else 0, ha="right" if slanted else "center")
        names = class_labels(shown)
        rows = [f"{name}  {100 * share:.0f} %" for name, share in zip(names, clean, strict=False)]
        axes.set_yticks(range(len(shown)), rows)
        axes.tick_params(length=0, labelcolor=INK, labelsize=8)
        for row, column in ((row, column) for row in range(len(shown)) for column in range(len(kinds))):
            value = values[row][column]
            colour = PAPER if value > 55 else INK if round(value) else MUTED
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", size=7.5, color=colour)
    return path


def write_flips(path: Path, flips: Sequence[Flip], *, classes: Sequence[str], title: str) -> Path:
    """Writes a sheet of photos that flip: each as it is, and beside it changed.

    Args:
        path: The file to write.
        flips: The photos.
        classes: The class names.
        title: What was tested.

    Returns:
        `path`.

    Raises:
        RunError: The file cannot be written.
    """
    labels = class_labels(classes)
    tiles: list[Tile | None] = []
    for flip in flips:
        answer = f"{labels[flip.predicted]}, {100 * flip.probability:.0f} %"
        tiles.append(Tile(photo=flip.photo, captions=((labels[flip.label], INK), (flip.name, MUTED))))
        tiles.append(Tile(photo=flip.changed, captions=((answer, _FADED), (f"strength {flip.strength}", MUTED))))
    subtitle = f"{len(flips)} photos, each as it is and at the weakest strength that flips it"
    return write_tiles(path, tiles, columns=4, title=title, subtitle=subtitle)
