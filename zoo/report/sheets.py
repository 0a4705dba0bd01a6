"""A contact sheet: sample photos of a dataset with their labels, or what the network sees of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from zoo.errors import ConfigError, DataError
from zoo.plugins.specs import ImageSet, Sample
from zoo.report.plot import INK, MUTED, class_labels
from zoo.report.tiles import Tile, load_photo, write_tiles

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

# (index of the sample in its part, the sample) -> uint8 (h, w, 3) pictures, as many for every sample.
Views = Callable[[int, Sample], "Sequence[np.ndarray]"]
PARTS = {"train": "training", "val": "validation", "test": "test"}
MAX_COUNT = 400
_COLUMNS = 6


def write_sheet(
    images: ImageSet,
    output: Path,
    *,
    part: str = "train",
    count: int = 24,
    seed: int = 0,
    views: Views | None = None,
    title: str | None = None,
) -> Path:
    """Writes a PNG of sample photos with their labels, drawn evenly over the classes.

    Without `views` each photo is shown once, in rows of six::

        write_sheet(images, Path("sheet.png"))

    With `views` each row is one photo, followed by what the network sees of it: several augmented views::

        write_sheet(images, Path("seen.png"), count=6, views=lambda index, sample: [augment(sample) for _ in range(5)])

    Args:
        images: The dataset.
        output: The file to write.
        part: ``"train"``, ``"val"`` or ``"test"``.
        count: How many photos, 1 to `MAX_COUNT`; all of them where the part has fewer.
        seed: Decides which; the same seed draws the same photos.
        views: Returns the views of a photo, uint8 ``(h, w, 3)`` each, given its index in the part and the sample.
            It is not called for photos that cannot be read.
        title: In place of the one made from the dataset's name and the part.

    Returns:
        `output`.

    Raises:
        ConfigError: `count` is out of bounds.
        DataError: There is no such part, or it is empty.
        RunError: The file cannot be written.
    """
    if not 1 <= count <= MAX_COUNT:
        raise ConfigError(f"sheet: option 'count' is {count}.", hint=f"Give a number of photos from 1 to {MAX_COUNT}.")
    samples = _part(images, part)
    chosen = draw_evenly(samples, count=count, seed=seed)
    labels = class_labels(images.classes)
    subtitle = f"{len(chosen)} of {len(samples)} photos, {len(images.classes)} classes"
    heading = title or f"{images.name}: {PARTS[part]} photos"
    if views is None:
        tiles = [_photo_tile(samples[index], labels) for index in chosen]
        return write_tiles(output, tiles, columns=min(_COLUMNS, len(tiles)), title=heading, subtitle=subtitle)
    rows = [_row(index, samples[index], labels, views) for index in chosen]
    columns = max(map(len, rows))
    cells = [tile for row in rows for tile in (*row, *[None] * (columns - len(row)))]
    subtitle += "; at the left the photo, then what the network sees of it"
    return write_tiles(output, cells, columns=columns, title=title or f"{heading}, augmented", subtitle=subtitle)


def draw_evenly(samples: Sequence[Sample], *, count: int, seed: int) -> list[int]:
    """Returns up to `count` indices, class by class in turn, at random within each class.

    Args:
        samples: What is drawn from.
        count: How many, at most.
        seed: Decides which.
    """
    generator = random.Random(seed)
    by_class: dict[int, list[int]] = {}
    for index, sample in enumerate(samples):
        by_class.setdefault(sample.label, []).append(index)
    piles = [generator.sample(pile, min(count, len(pile))) for _, pile in sorted(by_class.items())]
    if len(piles) > count:
        piles = generator.sample(piles, count)
    turns = [pile[turn] for turn in range(count) for pile in piles if turn < len(pile)]
    return sorted(turns[:count], key=lambda index: samples[index].label)


def _part(images: ImageSet, part: str) -> tuple[Sample, ...]:
    present = [name for name in PARTS if getattr(images, name)]
    if part not in present:
        what = f"no photos in its part '{part}'" if part in PARTS else f"no part '{part}'"
        raise DataError(f"Dataset '{images.name}' has {what}.", hint=f"It has: {', '.join(present) or 'no photos'}.")
    samples: tuple[Sample, ...] = getattr(images, part)
    return samples


def _photo_tile(sample: Sample, labels: Sequence[str]) -> Tile:
    return Tile(photo=load_photo(sample.source), captions=((labels[sample.label], INK), (sample.name, MUTED)))


def _row(index: int, sample: Sample, labels: Sequence[str], views: Views) -> list[Tile]:
    first = _photo_tile(sample, labels)
    seen = [] if first.photo is None else views(index, sample)
    return [first, *(Tile(photo=view, captions=()) for view in seen)]
