"""Sheets of photos with captions: samples of a dataset with their labels, or what the network sees of them."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.offsetbox import DrawingArea, HPacker, OffsetImage, TextArea, VPacker
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image, ImageOps

from zoo.errors import ConfigError, DataError, ImageError
from zoo.plugins.specs import ImageSet, Sample
from zoo.report.plot import DPI, FAINT, INK, MUTED, class_labels, fit, headline, picture

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.artist import Artist

# Pairs (index of the sample in its split, the sample) -> uint8 (h, w, 3) pictures of each, all the same number.
Views = Callable[[Sequence[tuple[int, Sample]]], "Sequence[Sequence[np.ndarray]]"]
SPLITS = {"train": "training", "val": "validation", "test": "test"}
MAX_COUNT = 400
SIDE = 224  # pixels of a photo on a sheet
_POINTS = SIDE * 72 / DPI  # the same in points
_WELL = "#f3f4f6"  # behind photos that are not square
_COLUMNS = 6
_CAPTION_SIZE = 7.5  # points


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One photo of a sheet.

    Attributes:
        photo: uint8 ``(h, w, 3)``, or None if it cannot be read.
        captions: Lines below the photo, each with its colour.
    """

    photo: np.ndarray | None
    captions: tuple[tuple[str, str], ...] = ()


def write_sheet(
    images: ImageSet,
    output: Path,
    *,
    split: str = "train",
    count: int = 24,
    seed: int = 0,
    views: Views | None = None,
    title: str | None = None,
) -> Path:
    """Writes a PNG of sample photos with their labels, spread evenly over the classes.

    Without `views` the sheet shows each photo once, in rows of six::

        write_sheet(images, Path("sheet.png"))

    With `views` each row shows one photo and, beside it, what the network sees of it, such as augmented views::

        views = lambda photos: [[augment(sample) for _ in range(5)] for index, sample in photos]
        write_sheet(images, Path("seen.png"), count=6, views=views)

    Args:
        images: The dataset.
        output: The file to write.
        split: ``"train"``, ``"val"`` or ``"test"``.
        count: Number of photos, 1 to `MAX_COUNT`; a smaller split is shown whole.
        seed: Selects the photos; the same seed selects the same photos.
        views: Returns the views of each photo, uint8 ``(h, w, 3)``, given pairs of its index in the split and the
            sample. Photos that cannot be read are not among them.
        title: Replaces the title made of the dataset's name and the split.

    Returns:
        `output`.

    Raises:
        ConfigError: `count` is out of bounds.
        DataError: The split does not exist or is empty, or the file would be among the photos of a class.
        RunError: The file cannot be written.
    """
    _check_output(output, images)
    if not 1 <= count <= MAX_COUNT:
        raise ConfigError(f"sheet: option 'count' is {count}.", hint=f"Pass a number of photos from 1 to {MAX_COUNT}.")
    samples = _samples_of(images, split)
    selected = sample_evenly(samples, count=count, seed=seed)
    labels = class_labels(images.classes)
    kinds = "labels" if images.multi_label else "classes"
    subtitle = f"{len(selected)} of {len(samples)} photos, {len(images.classes)} {kinds}"
    heading = title or f"{images.name}: {SPLITS[split]} photos"
    if views is None:
        tiles = [_photo_tile(samples[index], labels) for index in selected]
        return write_tiles(output, tiles, columns=_COLUMNS, title=heading, subtitle=subtitle)
    rows = _rows([(index, samples[index]) for index in selected], labels, views)
    columns = max(map(len, rows))
    cells = [tile for row in rows for tile in (*row, *[None] * (columns - len(row)))]
    subtitle += "; each row shows a photo, then what the network sees of it"
    return write_tiles(output, cells, columns=columns, title=title or f"{heading}, augmented", subtitle=subtitle)


def _check_output(output: Path, images: ImageSet) -> None:
    """Refuses a file in a folder with some of the photos, but not all: it would be a photo of that class."""
    folder = os.path.join(output.resolve().parent, "")  # noqa: PTH118  pathlib drops the slash
    samples = (*images.train, *images.val, *images.test)
    paths = [os.fspath(each.source) for each in samples if not isinstance(each.source, bytes)]
    inside = sum(path.startswith(folder) for path in paths)
    if 0 < inside < len(paths):
        raise DataError(
            f"{output} would be among the photos of a class.", hint="Pass a file in another folder with --output."
        )


def sample_evenly(samples: Sequence[Sample], *, count: int, seed: int) -> list[int]:
    """Returns the indices of up to `count` samples, random within each class and spread evenly over the classes.

    In multi-label data, photos with the same set of labels count as a class.

    Args:
        samples: The samples to select from.
        count: The maximum number of indices.
        seed: Selects the samples.
    """
    generator = random.Random(seed)
    by_class: dict[tuple[int, ...], list[int]] = {}
    for index, sample in enumerate(samples):
        by_class.setdefault(sample.labels, []).append(index)
    shuffled = [generator.sample(indices, min(count, len(indices))) for _, indices in sorted(by_class.items())]
    if len(shuffled) > count:
        shuffled = generator.sample(shuffled, count)
    in_turns = [indices[turn] for turn in range(count) for indices in shuffled if turn < len(indices)]
    return sorted(in_turns[:count], key=lambda index: samples[index].labels)


def load_photo(source: Path | bytes) -> np.ndarray | None:
    """Returns a photo in the size of a tile, uint8 ``(SIDE, SIDE, 3)``, or None if it cannot be read.

    It shrinks the photo at once, because the memory may not hold a sheet of full-size photos.
    """
    from zoo.data.images.decode import decode

    try:
        return _fit_tile(decode(source))
    except ImageError:
        return None


def write_tiles(path: Path, tiles: Sequence[Tile | None], *, columns: int, title: str, subtitle: str = "") -> Path:
    """Writes a sheet of tiles as PNG.

    Args:
        path: The file to write.
        tiles: Row by row; None leaves a place blank. Photos are resized to fit, never cropped.
        columns: Number of tiles in a row.
        title: A bold line at the top.
        subtitle: A muted line below the title.

    Returns:
        `path`.

    Raises:
        RunError: The file cannot be written.
    """
    with picture(path) as figure:
        boxes: list[Artist] = [_draw_tile(tile) for tile in tiles]
        rows = [
            HPacker(children=boxes[i : i + columns], pad=0, sep=8, align="top") for i in range(0, len(boxes), columns)
        ]
        headline(figure, title, subtitle, below=rows)
    return path


def _draw_tile(tile: Tile | None) -> Artist:
    if tile is None:
        return DrawingArea(_POINTS, _POINTS)
    photo = _draw_unreadable() if tile.photo is None else _draw_photo(tile.photo)
    # Narrower than the photo, so that the tile has the photo's width and the columns of the sheet line up.
    width = 0.97 * SIDE / DPI
    captions = [
        TextArea(fit(text, width, size=_CAPTION_SIZE), textprops={"size": _CAPTION_SIZE, "color": colour})
        for text, colour in tile.captions
    ]
    return VPacker(children=[photo, *captions], pad=0, sep=4)


def _draw_photo(photo: np.ndarray) -> OffsetImage:
    # One pixel of the photo is one pixel of the picture; any other interpolation would blur it.
    return OffsetImage(_fit_tile(photo), zoom=72 / DPI, interpolation="nearest")


def _draw_unreadable() -> DrawingArea:
    area = DrawingArea(_POINTS, _POINTS)
    area.add_artist(Rectangle((0, 0), _POINTS, _POINTS, fill=False, edgecolor=FAINT))
    area.add_artist(
        Text(_POINTS / 2, _POINTS / 2, "unreadable", ha="center", va="center", size=_CAPTION_SIZE, color=MUTED)
    )
    return area


def _fit_tile(photo: np.ndarray) -> np.ndarray:
    image = Image.fromarray(photo)
    # Here, because ImageOps.pad fails if a side becomes shorter than half a pixel.
    width, height = (max(1, round(side * SIDE / max(image.size))) for side in image.size)
    return np.asarray(ImageOps.pad(image.resize((width, height), reducing_gap=3), (SIDE, SIDE), color=_WELL))


def _samples_of(images: ImageSet, split: str) -> tuple[Sample, ...]:
    available = [name for name in SPLITS if getattr(images, name)]
    if split not in available:
        problem = f"has no photos in its split '{split}'" if split in SPLITS else f"has no split '{split}'"
        raise DataError(f"Dataset '{images.name}' {problem}.", hint=f"It has: {', '.join(available) or 'no photos'}.")
    samples: tuple[Sample, ...] = getattr(images, split)
    return samples


def _photo_tile(sample: Sample, labels: Sequence[str]) -> Tile:
    return Tile(photo=load_photo(sample.source), captions=((sample.label_text(labels), INK), (sample.name, MUTED)))


def _rows(photos: Sequence[tuple[int, Sample]], labels: Sequence[str], views: Views) -> list[list[Tile]]:
    rows = [[_photo_tile(sample, labels)] for _, sample in photos]
    readable = [number for number, row in enumerate(rows) if row[0].photo is not None]
    for number, seen in zip(readable, views([photos[number] for number in readable]), strict=True):
        rows[number] += [Tile(photo=view) for view in seen]
    return rows
