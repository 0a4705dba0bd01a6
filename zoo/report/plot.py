"""What all pictures share: their style, their headline, and text that the bundled font can draw."""

from __future__ import annotations

import functools
import unicodedata
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font
from matplotlib.offsetbox import AnchoredOffsetbox, TextArea, VPacker
from matplotlib.transforms import ScaledTranslation
from PIL import ImageFont

from zoo.utils.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from matplotlib.artist import Artist

DPI = 150
INK = "#1f2328"
MUTED = "#656d76"
FAINT = "#d8dee4"
WRONG = "#a84300"  # vermilion, dark enough for small print
PAPER = "#ffffff"
# Okabe and Ito 2008, https://jfly.uni-koeln.de/color/: distinct with every kind of colour vision.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#4d4d4d")
MISSING = "\N{WHITE SQUARE}"
_MARGIN = 0.2  # inches
_TITLE_SIZE = 12  # points
_TITLE_WIDTH = 8  # inches

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
def picture(
    path: Path, *, width: float = 1, height: float = 1, layout: Literal["constrained"] | None = None
) -> Iterator[Figure]:
    """Yields a figure to draw on, and writes it to `path` as PNG if the block ends without an error.

    The picture holds all that is drawn, even beyond the edges of the figure, and a margin. It looks the same
    everywhere, because it uses neither pyplot nor the user's matplotlibrc. The style applies to the whole block:
    matplotlib creates ticks and texts only when it draws them.

    Args:
        path: The file to write.
        width: Of the figure, in inches of `DPI` pixels.
        height: Of the figure, in inches of `DPI` pixels.
        layout: Matplotlib's layout engine: ``"constrained"`` or none.

    Raises:
        RunError: The file cannot be written.
    """
    with matplotlib.style.context(_STYLE, after_reset=True):
        figure = Figure(figsize=(width, height), layout=layout)
        FigureCanvasAgg(figure)
        yield figure
        with atomic_write(path) as temporary:
            figure.savefig(temporary, format="png", dpi=DPI, bbox_inches="tight", pad_inches=_MARGIN)


def headline(figure: Figure, title: str, subtitle: str = "", *, below: Sequence[Artist] = ()) -> None:
    """Puts a bold title and a muted line above a figure, flush left.

    Args:
        figure: The figure.
        title: Shortened to `_TITLE_WIDTH`.
        subtitle: Left out if it is empty.
        below: Boxes to put below the two lines.
    """
    bold = {"size": _TITLE_SIZE, "weight": "bold"}
    lines = [TextArea(fit(title, _TITLE_WIDTH, size=_TITLE_SIZE, bold=True), textprops=bold)]
    if subtitle:
        lines.append(TextArea(readable(subtitle), textprops={"color": MUTED}))
    box = VPacker(children=[*lines, *below], pad=0, sep=8)
    top_left = figure.transFigure + ScaledTranslation(0, 0.15, figure.dpi_scale_trans)
    anchor: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "bbox_transform": top_left}
    figure.add_artist(AnchoredOffsetbox(child=box, frameon=False, pad=0, borderpad=0, **anchor))


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Returns the width of a line of text in inches, in DejaVu Sans of `size` points."""
    font = f"{mpl.get_data_path()}/fonts/ttf/DejaVuSans{'-Bold' if bold else ''}.ttf"
    return float(ImageFont.truetype(font, 100).getlength(text)) / 100 * size / 72


def fit(text: str, width: float, *, size: float, bold: bool = False) -> str:
    """Returns `text` as `readable` does, shortened to `width` inches at `size` points."""
    whole = fitted = readable(text)
    limit = len(whole)
    while limit > 1 and (needed := text_width(fitted, size, bold=bold)) > width:
        limit = min(limit - 1, int(limit * width / needed) + 1)
        fitted = shorten(whole, limit)
    return fitted


def readable(text: str) -> str:
    """Returns `text` on one line, in characters that the font has.

    Composed and compatibility forms replace characters without a glyph if there are any: full-width letters become
    plain ones. Any other character without a glyph becomes a `MISSING` square.
    """
    return " ".join("".join(map(_drawable, unicodedata.normalize("NFC", text))).split())


def class_labels(classes: Sequence[str], *, limit: int = 28) -> tuple[str, ...]:
    """Returns distinct, readable labels for class names, each of at most about `limit` characters.

    Adds the class index to names that the font cannot draw in full and to names that are equal once shortened.
    """
    labels = [shorten(readable(name), limit) for name in classes]
    counts = Counter(labels)
    return tuple(
        f"{label} #{index}" if counts[label] > 1 or MISSING in label or not label else label
        for index, label in enumerate(labels)
    )


def shorten(text: str, limit: int) -> str:
    """Returns `text` in at most `limit` characters: the middle goes, because names differ at their ends."""
    if len(text) <= limit:
        return text
    tail = (limit - 1) // 2
    return f"{text[: limit - 1 - tail].rstrip()}…{text[len(text) - tail :].lstrip()}"


def _drawable(character: str) -> str:
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
    return frozenset(get_font(f"{mpl.get_data_path()}/fonts/ttf/DejaVuSans.ttf").get_charmap())
