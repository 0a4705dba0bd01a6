"""How every picture of the zoo looks: style, colours, and text that the bundled font can show."""

from __future__ import annotations

import functools
import unicodedata
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import matplotlib as mpl
import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font
from PIL import ImageFont

from zoo.utils.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

DPI = 150
MARGIN = 0.2  # inches
TITLE = 12  # points
INK = "#1f2328"
MUTED = "#656d76"
FAINT = "#d8dee4"
PAPER = "#ffffff"
# Okabe and Ito 2008, https://jfly.uni-koeln.de/color/: told apart with every kind of colour vision.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#4d4d4d")
MISSING = "\N{WHITE SQUARE}"

_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.parse_math": False,  # A class may be called "$5 and $10".
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titlepad": 10,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 4,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
}


@contextmanager
def picture(path: Path, *, width: float, height: float) -> Iterator[Figure]:
    """Gives a figure to draw on, and writes it to `path` as PNG when the block ends well.

    Neither pyplot nor the user's matplotlibrc takes part, so that a picture looks the same everywhere. The style
    applies within the block: matplotlib makes ticks and texts as late as they are drawn.

    Args:
        path: The file to write, aside and renamed.
        width: In inches of `DPI` pixels.
        height: In inches of `DPI` pixels.

    Raises:
        RunError: The file cannot be written.
    """
    with matplotlib.style.context(_STYLE, after_reset=True):
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        yield figure
        with atomic_write(path) as aside:
            figure.savefig(aside, format="png", dpi=DPI)


def headline(figure: Figure, title: str, subtitle: str = "") -> None:
    """Writes a bold title, shortened where need be, and a muted line below it, at the upper left of a figure."""
    width, height = figure.get_size_inches()
    room = width - 2 * MARGIN
    shown = fit(title, room, measure=lambda text: text_width(text, TITLE, bold=True))
    figure.text(MARGIN / width, 1 - 0.17 / height, shown, size=TITLE, weight="bold", va="top")
    figure.text(MARGIN / width, 1 - 0.43 / height, readable(subtitle), color=MUTED, va="top")


def panel(figure: Figure, *, left: float, bottom: float, width: float, height: float) -> Axes:
    """Returns new axes at a place in a figure, all in inches from its lower left corner."""
    total_width, total_height = figure.get_size_inches()
    return figure.add_axes((left / total_width, bottom / total_height, width / total_width, height / total_height))


def legend(figure: Figure, handles: Sequence[Artist], labels: Sequence[str], *, columns: int) -> None:
    """Puts a legend below the headline, at the left, in rows of `columns`."""
    width, height = figure.get_size_inches()
    box = figure.legend(
        handles,
        [" "] * len(handles),  # Matplotlib leaves out labels that begin with an underscore; set below, they stay.
        loc="upper left",
        bbox_to_anchor=(MARGIN / width, 1 - 0.72 / height),
        ncols=columns,
        borderpad=0,
        borderaxespad=0,
        handlelength=2,
        columnspacing=2,
    )
    for text, label in zip(box.get_texts(), labels, strict=True):
        text.set_text(readable(label))


def font_file(*, bold: bool = False) -> str:
    """Returns the path of DejaVu Sans, the font that comes with matplotlib."""
    return f"{mpl.get_data_path()}/fonts/ttf/DejaVuSans{'-Bold' if bold else ''}.ttf"


def text_width(text: str, points: float, *, bold: bool = False) -> float:
    """Returns how wide a line of text in DejaVu Sans is, in inches."""
    return float(ImageFont.truetype(font_file(bold=bold), 100).getlength(text)) / 100 * points / 72


def fit(text: str, width: float, *, measure: Callable[[str], float]) -> str:
    """Returns `text` readable, and shortened until `measure` says that it is at most `width` wide."""
    shown = whole = readable(text)
    limit = len(whole)
    while limit > 1 and measure(shown) > width:
        limit = min(limit - 1, int(limit * width / measure(shown)) + 1)
        shown = shorten(whole, limit)
    return shown


def readable(text: str) -> str:
    """Returns `text` on one line, in characters that the font has.

    Composed and compatibility forms are used where they help (full-width letters become plain ones); what is
    left without a glyph becomes a `MISSING` square each.
    """
    return " ".join("".join(map(_shown, unicodedata.normalize("NFC", text))).split())


def class_labels(classes: Sequence[str], *, limit: int = 28) -> tuple[str, ...]:
    """Returns labels for class names: readable, of at most about `limit` characters, no two the same.

    Names that the font cannot show in full, or that are the same once shortened, have their class index added.
    """
    labels = [shorten(readable(name), limit) for name in classes]
    often = Counter(labels)
    return tuple(
        f"{label} #{index}" if often[label] > 1 or MISSING in label or not label else label
        for index, label in enumerate(labels)
    )


def shorten(text: str, limit: int) -> str:
    """Returns `text` with its middle left out where it is longer than `limit` characters: ends tell names apart."""
    if len(text) <= limit:
        return text
    tail = (limit - 1) // 2
    return f"{text[: limit - 1 - tail].rstrip()}…{text[len(text) - tail :].lstrip()}"


def _shown(character: str) -> str:
    if character.isspace():
        return " "
    if character.isprintable() and ord(character) in _glyphs():
        return character
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):  # accents and joiners, nothing without their letter
        return ""
    plain = unicodedata.normalize("NFKC", character)
    return plain if plain != character and all(ord(part) in _glyphs() for part in plain) else MISSING


@functools.cache
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(font_file()).get_charmap())
