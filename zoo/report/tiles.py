"""A page of photos with captions, the form of contact sheets and of the picture of mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from zoo.errors import ImageError
from zoo.report.plot import FAINT, INK, MUTED, PAPER, fit, font_file
from zoo.utils.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SIDE = 224  # pixels of a tile's photo
_GAP = 20
_MARGIN = 32
_LINE = 22
_SIZE = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One photo of a page.

    Attributes:
        photo: uint8 ``(h, w, 3)``, or None where there is none to show.
        captions: Lines below the photo, each with its colour.
    """

    photo: np.ndarray | None
    captions: tuple[tuple[str, str], ...]


def load_photo(source: Path | bytes) -> np.ndarray | None:
    """Returns a photo at the size of a tile, uint8 ``(h, w, 3)``, or None where it cannot be read.

    It is shrunk at once, because a page of full-size photos need not fit into memory.
    """
    from zoo.data.images.decode import decode

    try:
        photo = decode(source)
    except ImageError:
        return None
    return np.asarray(_resize(Image.fromarray(photo)))


def write_tiles(path: Path, tiles: Sequence[Tile | None], *, columns: int, title: str, subtitle: str = "") -> Path:
    """Draws a page of tiles in rows of `columns` and writes it as PNG.

    Args:
        path: The file to write, aside and renamed.
        tiles: In reading order, None for a place left blank; photos are resized to fit, whole.
        columns: Tiles a row.
        title: In bold at the top.
        subtitle: A muted line below it.

    Returns:
        `path`.

    Raises:
        RunError: The file cannot be written.
    """
    rows = -(-len(tiles) // columns)
    lines = max((len(tile.captions) for tile in tiles if tile), default=0)
    top = _MARGIN + (68 if subtitle else 44)
    step = SIDE + 8 + lines * _LINE + _GAP
    width = max(2 * _MARGIN + columns * (SIDE + _GAP) - _GAP, 640)
    page = Image.new("RGB", (width, top + rows * step + _MARGIN - _GAP), PAPER)
    draw = ImageDraw.Draw(page)
    room = width - 2 * _MARGIN
    _write(draw, title, (_MARGIN, _MARGIN), room, INK, _font(22, bold=True))
    _write(draw, subtitle, (_MARGIN, _MARGIN + 34), room, MUTED, _font(_SIZE))
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        if tile:
            _draw_tile(page, tile, x=_MARGIN + column * (SIDE + _GAP), y=top + row * step)
    with atomic_write(path) as aside:
        page.save(aside, format="PNG")
    return path


def _draw_tile(page: Image.Image, tile: Tile, *, x: int, y: int) -> None:
    draw = ImageDraw.Draw(page)
    if tile.photo is None:
        draw.rectangle((x, y, x + SIDE - 1, y + SIDE - 1), outline=FAINT)
        draw.text((x + SIDE // 2, y + SIDE // 2), "cannot be read", MUTED, _font(_SIZE), anchor="mm")
    else:
        photo = _resize(Image.fromarray(tile.photo))
        draw.rectangle((x, y, x + SIDE - 1, y + SIDE - 1), fill="#f3f4f6")
        page.paste(photo, (x + (SIDE - photo.width) // 2, y + (SIDE - photo.height) // 2))
    for line, (text, colour) in enumerate(tile.captions):
        _write(draw, text, (x, y + SIDE + 8 + line * _LINE), SIDE, colour, _font(_SIZE))


def _write(
    draw: ImageDraw.ImageDraw, text: str, at: tuple[int, int], width: int, colour: str, font: ImageFont.FreeTypeFont
) -> None:
    draw.text(at, fit(text, width, measure=font.getlength), colour, font)


def _resize(photo: Image.Image) -> Image.Image:
    scale = SIDE / max(photo.size)
    return photo.resize((max(1, round(photo.width * scale)), max(1, round(photo.height * scale))), reducing_gap=3)


def _font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_file(bold=bold), size)
